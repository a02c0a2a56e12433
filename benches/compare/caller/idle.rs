//! Connections that have had one request each and do nothing more, until they are told to prove that
//! they are still there.

use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::Order;
use super::kept::Kept;
use crate::load::MARK;
use crate::{Fallible, tls};

/// Of how many connections some have to serve again.
const PROVED: usize = 100;

pub(super) async fn hold(order: &Order, client: &tls::Client) -> Fallible<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let begun = Instant::now();
    // One after the other: each needs a connection to the app for a moment, and what those take is not
    // what is asked here.
    let mut lines = Vec::with_capacity(order.connections);
    for number in 0..order.connections {
        let mut line = Kept::open(order, client, number).await?;
        line.call().await?;
        line.shrink();
        lines.push(line);
    }
    println!("{MARK} opened {}", begun.elapsed().as_micros());

    let mut told = BufReader::new(tokio::io::stdin()).lines();
    if told.next_line().await?.is_none() {
        return Ok(());
    }
    // An idle connection that was closed instead takes nothing, and proves nothing.
    let step = (lines.len() / PROVED).max(1);
    for line in lines.iter_mut().step_by(step) {
        line.call().await.map_err(|error| format!("an idle connection: {error}"))?;
    }
    println!("{MARK} served {}", lines.len().div_ceil(step));
    told.next_line().await?;
    Ok(())
}
