//! One request as it is sent: in whichever version of HTTP the endpoint of the
//! last try speaks, and once more at another.

use crate::config::{Limits, Timeouts};
use crate::fields::Fields;
use crate::message::{Request, Upgrade};

use super::{exchange, http2};

/// The request as it is sent, by what the endpoint of the last try speaks.
#[derive(Default)]
pub(super) struct Exchanges {
    pub(super) upgrade: Asked,
    pub(super) http1: Option<Box<exchange::Exchange>>,
    pub(super) http2: Option<Box<http2::exchange::Exchange>>,
}

/// Whether a request asks to switch to another protocol.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// It does not.
    #[default]
    No,
    /// By a field, which an app may ignore.
    ByField,
    /// By its method: it is nothing else.
    ByMethod,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        match &request.upgrade {
            None => Self::No,
            Some(Upgrade { accept: None, .. }) => Self::ByField,
            Some(Upgrade { accept: Some(_), .. }) => Self::ByMethod,
        }
    }
}

impl Exchanges {
    pub(super) fn http1(
        &mut self,
        request: &mut Request,
        timeouts: &Timeouts,
        limits: &Limits,
    ) -> &mut exchange::Exchange {
        if let Some(other) = self.http2.take() {
            other.give_back(request);
        }
        self.http1
            .get_or_insert_with(|| Box::new(exchange::Exchange::new(request, timeouts, limits)))
    }

    pub(super) fn http2(
        &mut self,
        request: &mut Request,
        timeouts: &Timeouts,
        limits: &Limits,
    ) -> &mut http2::exchange::Exchange {
        if let Some(other) = self.http1.take() {
            other.give_back(request);
        }
        self.http2.get_or_insert_with(|| {
            let head_limit = limits.response_header_bytes;
            Box::new(http2::exchange::Exchange::new(request, timeouts, head_limit))
        })
    }

    /// The request's fields, wherever they are.
    pub(super) fn fields<'a>(&'a mut self, request: &'a mut Request) -> &'a mut Fields {
        match (&mut self.http1, &mut self.http2) {
            (Some(exchange), _) => exchange.fields(),
            (_, Some(exchange)) => exchange.fields(),
            (None, None) => &mut request.fields,
        }
    }

    /// Whether another try could send the whole request again.
    pub(super) fn can_rewind(&self) -> bool {
        self.http1.as_ref().is_none_or(|exchange| exchange.can_rewind())
            && self.http2.as_ref().is_none_or(|exchange| exchange.can_rewind())
    }

    /// Gets ready for another try.
    pub(super) fn rewind(&mut self) {
        if let Some(exchange) = &mut self.http1 {
            exchange.rewind();
        }
    }
}
