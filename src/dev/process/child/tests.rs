//! Commands that read as typed, and starts that fail with the true reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;

#[tokio::test]
async fn each_reason_not_to_start_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("app");
    let sink: Sink = Arc::new(|_, _| ());
    let none: [&str; 0] = [];
    let why = || AppProcess::spawn(&AppCommand::new(&script, none), 1, &sink).unwrap_err();

    assert!(matches!(why(), StartError::NoFile(_)));
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    assert!(matches!(why(), StartError::NotExecutable(_)));
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, executable).unwrap();
    assert!(matches!(why(), StartError::NoInterpreter(_)));
}

#[test]
fn a_command_reads_as_it_was_typed() {
    assert_eq!(AppCommand::new("npm", ["run", "dev"]).to_string(), "npm run dev");
}
