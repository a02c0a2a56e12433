//! What the gateway's cost is held against: a peer's, and how much of it at most.

use crate::measure::{Row, Table};

pub(crate) struct Goal {
    /// `None`: whichever peer does it for least.
    peer: Option<&'static str>,
    /// More than this share of the peer's cost is a defect.
    pub(crate) required: f64,
    pub(crate) wished: f64,
}

impl Goal {
    pub(crate) fn of(table: &Table) -> Self {
        match table.scenario.group {
            "http1" => Self { peer: Some("haproxy"), required: 0.85, wished: 0.85 },
            _ => Self { peer: None, required: 1.00, wished: 0.85 },
        }
    }

    /// The peer's row, if it was measured.
    pub(crate) fn peer<'table>(&self, table: &'table Table) -> Option<&'table Row> {
        match self.peer {
            Some(name) => table.row(name).filter(|row| row.valid()),
            None => table.best_peer(),
        }
    }

    pub(crate) fn standing(&self, ratio: f64) -> &'static str {
        if ratio > self.required {
            "missed"
        } else if ratio > self.wished {
            "met, not as wished"
        } else {
            "met"
        }
    }
}
