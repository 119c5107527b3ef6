//! Profiles, and what else the command line does before it asks a server.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use crate::{
    database::{Database, Kind},
    guarded::{Guarded, asking},
    server::{Server, TENANT, runtime},
};

fn bancheck(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
    command
        .args(line.split(' '))
        // A folder without a key of its own.
        .env("BANCHECK_DATA_DIR", "tests");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_profile_names_a_server_and_lends_its_credential_to_that_server_alone() {
    let database = Database::fresh(Kind::Sqlite);
    let server = Server::start(&asking(&database.place)).expect("a server");
    let root = server.first_key(&database.place);
    runtime().block_on(async {
        let client = server.client();
        let guarded = Guarded {
            client,
            root: root.clone(),
        };
        guarded.heard_of(&guarded.root).await;
        guarded.make_tenant(TENANT).await;
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("profiles.toml");
    let (check, admin) = (server.check_address(), server.admin_address());
    fs::write(
        &file,
        format!(
            "[profile.here]\nendpoint = '{check}'\nadmin_endpoint = '{admin}'\n\
             tenant = '{TENANT}'\ntoken_file = 'here.token'\n"
        ),
    )
    .expect("a file");
    let token = folder.path().join("here.token");
    fs::write(&token, root + "\n").expect("a file");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("our own file");
    let ask = |line: &str| {
        let mut command = bancheck(line);
        command.env("BANCHECK_PROFILES", &file);
        command.output().expect("the command runs")
    };

    let answered = ask("--profile here check --channel call +420601123456");
    assert_eq!(answered.status.code(), Some(0), "{}", said(&answered));
    assert!(answered.stderr.is_empty(), "{}", said(&answered));

    let nobody = ask("--profile here --tenant nobody check --channel call +420601123456");
    assert!(said(&nobody).contains("TENANT_NOT_FOUND"), "a flag wins");

    let elsewhere = format!("--profile here --endpoint {check} check --channel call 1");
    let elsewhere = ask(&elsewhere);
    assert!(
        said(&elsewhere).contains("CREDENTIAL_MISSING"),
        "an address that the profile does not name is shown nothing: {}",
        said(&elsewhere)
    );

    let wrong = ask("--profile there check --channel call 1");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        said(&wrong).contains("no profile `there`"),
        "{}",
        said(&wrong)
    );

    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).expect("our own file");
    let open = ask("profile list");
    assert!(said(&open).contains("chmod 600"), "{}", said(&open));
}

#[test]
fn a_profile_is_shown_without_its_credential() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("profiles.toml");
    fs::write(&file, "default = 'a'\n[profile.a]\ntoken = 'hush'\n").expect("a file");
    for line in ["profile list", "profile show", "profile show a"] {
        for form in ["table", "json", "csv"] {
            let mut command = bancheck(&format!("{line} --output {form} --profiles"));
            let shown = command.arg(&file).output().expect("the command runs");
            let text = said(&shown);
            assert!(shown.status.success() && !text.contains("hush"), "{text}");
            assert!(text.contains("not shown"), "{text}");
        }
    }
}

#[test]
fn shells_and_man_are_told_of_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = bancheck(&format!("completions {shell}")).output();
        let script = script.expect("the command runs");
        assert!(
            script.status.success() && said(&script).contains("doctor"),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let made = bancheck("manual").arg(folder.path()).output();
    assert!(made.expect("the command runs").status.success());
    for page in ["bancheck.1", "bancheck-ban-import.1", "bancheck-doctor.1"] {
        let page = fs::read_to_string(folder.path().join(page)).expect("a page");
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
}
