//! Imports that are broken off, and sent again (P8).

use std::time::Duration;

use bancheck::api::v1::{
    ImportBansRequest, ListBansRequest,
    import_bans_request::{Header, Row},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    imports::{counts, header, parts, rows},
    server::Client,
};

on_both_stores!(
    p8_an_import_that_broke_off_goes_on_where_it_ended,
    p8_hanging_up_in_the_middle_of_a_chunk_is_no_end_of_an_import,
    p8_hanging_up_between_two_chunks_is_no_end_of_an_import,
);

impl Client {
    /// An import that is under way: so many rows have been taken, and a thousand are written. It ends
    /// with the sender of the others.
    async fn begin_import(
        &self,
        header: &Header,
        file: &[Row],
        taken: usize,
    ) -> (JoinSet<()>, mpsc::Sender<ImportBansRequest>) {
        let (send, arriving) = mpsc::channel(1);
        let mut admin = self.admin();
        let mut import = JoinSet::new();
        import.spawn(async move {
            let _ = admin.import_bans(ReceiverStream::new(arriving)).await;
        });
        for part in parts(header.clone(), file.to_vec()).take(1 + taken) {
            send.send(part).await.expect("the server takes it");
        }
        // Before, nothing would be broken off.
        while self.found(ListBansRequest::default()).await.1 < 1_000 {
            tokio::task::yield_now().await;
        }
        (import, send)
    }
}

async fn p8_an_import_that_broke_off_goes_on_where_it_ended(client: Client) {
    let header = Header {
        request_id: "broken off".to_owned(),
        ..header()
    };
    let file = rows(3_300);
    let (mut begun, _more) = client.begin_import(&header, &file, 2_499).await;
    begun.abort_all();
    let done = client.import(header, file).await;
    assert_eq!(counts(&done), [3_300, 0, 0, 0, 0]);
    assert_eq!(client.imported(&done.import_id, &[]).await, 3_300);
    assert_eq!(client.found(ListBansRequest::default()).await.1, 3_300);
}

/// Hangs up once so many rows have been taken, of which a thousand are written, and imports all.
async fn hung_up_after(client: Client, taken: usize) {
    let header = Header {
        request_id: "hung up".to_owned(),
        ..header()
    };
    let file = rows(1_700);
    let (mut begun, _more) = client.begin_import(&header, &file, taken).await;
    // Time itself: nothing tells that the server waits for the next row.
    sleep_until(Instant::now() + Duration::from_millis(300)).await;
    begun.abort_all();
    while begun.join_next().await.is_some() {}
    sleep_until(Instant::now() + Duration::from_millis(300)).await;
    assert_eq!(client.found(ListBansRequest::default()).await.1, 1_000);
    let done = client.import(header, file).await;
    assert_eq!(counts(&done), [1_700, 0, 0, 0, 0]);
}

async fn p8_hanging_up_in_the_middle_of_a_chunk_is_no_end_of_an_import(client: Client) {
    hung_up_after(client, 1_500).await;
}

async fn p8_hanging_up_between_two_chunks_is_no_end_of_an_import(client: Client) {
    hung_up_after(client, 1_000).await;
}
