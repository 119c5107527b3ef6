//! A log that nobody reads.

use bancheck::api::v1::{
    BatchCheckInteractionsRequest, Channel, CheckInteractionRequest, CreateBanRequest,
    admin_service_client::AdminServiceClient, check_service_client::CheckServiceClient,
};

use crate::{
    process::Process,
    requests::{NUMBER, add, connect, phone},
    server::runtime,
};

/// The tenant that an embedded store begins with.
const FIRST: &str = "default";

fn dropped(process: &Process) -> u64 {
    let page = process.page("/metrics", "text/plain");
    let mut lines = page.lines();
    let count = lines.find_map(|line| line.strip_prefix("bancheck_log_lines_dropped_total "));
    count.expect("a counter").parse().expect("a number")
}

#[test]
fn a_log_that_nobody_reads_keeps_no_check_waiting_and_the_lines_it_loses_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start_unread(folder.path());
    runtime().block_on(async {
        let [checks, admin] = process.channels();
        let mut admin = AdminServiceClient::new(admin);
        let ban = CreateBanRequest {
            tenant: FIRST.to_owned(),
            ..add(phone(NUMBER))
        };
        admin.create_ban(ban).await.expect("a ban");
        let check = CheckInteractionRequest {
            tenant: FIRST.to_owned(),
            ..connect(Channel::Call, phone(NUMBER))
        };
        let batch = BatchCheckInteractionsRequest {
            requests: vec![check; 1_000],
            consistency: None,
        };
        assert_eq!(dropped(&process), 0);
        let mut checks = CheckServiceClient::new(checks);
        // A line for each denial: more than wait, with what a pipe takes.
        for _ in 0..40 {
            let answer = checks.batch_check_interactions(batch.clone()).await;
            assert_eq!(answer.expect("answers").into_inner().results.len(), 1_000);
        }
        let dropped = dropped(&process);
        assert!((1..40_000 - 32_768).contains(&dropped), "{dropped}");
    });
}
