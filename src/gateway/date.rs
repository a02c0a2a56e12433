//! The `Date` of responses that came without one, RFC 9110 section 6.6.1:
//! written once a second, not once a response.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use crate::fields::Known;
use crate::message::Response;

/// One worker's clock for `Date` fields.
#[derive(Default)]
pub struct DateClock(RefCell<(u64, Option<HeaderValue>)>);

impl DateClock {
    /// Adds the field to a response that lacks it.
    pub fn ensure(&self, response: &mut Response) {
        if response.fields.has(Known::Date) {
            return;
        }
        if let Some(now) = self.now() {
            response.fields.add("date", now);
        }
    }

    fn now(&self) -> Option<HeaderValue> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let (second, value) = &mut *self.0.borrow_mut();
        if *second != seconds || value.is_none() {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            *value = HeaderValue::from_str(&date).ok();
            *second = seconds;
        }
        value.clone()
    }
}
