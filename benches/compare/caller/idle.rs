//! Connections that have had one request each and do nothing more, until they are told to prove that
//! they are still there.

use std::error::Error;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task;

use super::Order;
use super::kept::Kept;
use crate::load::MARK;
use crate::{Fallible, tls};

/// Few: each needs a connection to the app for a moment, and what those take is not what is asked here.
const AT_ONCE: usize = 8;
/// Of how many connections some have to serve again.
const PROVED: usize = 100;

pub(super) async fn hold(order: &Order, client: &tls::Client) -> Fallible<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let begun = Instant::now();
    let mut opening = Vec::new();
    for first in 0..AT_ONCE {
        let (order, client) = (order.clone(), client.clone());
        opening.push(task::spawn_local(async move {
            let mut lines = Vec::new();
            for number in (first..order.connections).step_by(AT_ONCE) {
                let mut line = Kept::open(&order, &client, number).await?;
                line.call().await?;
                line.shrink();
                lines.push(line);
            }
            Ok::<_, Box<dyn Error>>(lines)
        }));
    }
    let mut lines = Vec::with_capacity(order.connections);
    for opened in opening {
        lines.extend(opened.await??);
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
