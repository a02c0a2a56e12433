//! Programs that some tests need.

use std::process::{Command, Stdio};

/// Whether a program is there. In CI it has to be.
pub fn is_there(program: &str) -> bool {
    let version = Command::new(program)
        .arg(if program == "openssl" { "version" } else { "--version" })
        .stdin(Stdio::null())
        .output();
    let there = version.is_ok_and(|output| output.status.success());
    if !there {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing, and CI must have it");
        eprintln!("!!! {program} is not installed: NOTHING IS TESTED HERE !!!");
    }
    there
}
