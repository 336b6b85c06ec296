use super::*;
use crate::job::Path;
use stopwatt_core::Phase;

fn exchange() -> Exchange {
    let job = Job {
        id: 7,
        point: 0,
        trial: 0,
        phase: Phase::Measure,
        session: None,
        turn: None,
        input_asked: 1,
        output_asked: 4,
        path: Path::Completions,
        body: b"{}".to_vec(),
    };
    let mut x = Exchange::new(job, b"POST / HTTP/1.1\r\n", &Limits { keep_text: true, ..Limits::default() });
    x.on_sent(x.unsent().len(), 1);
    x.on_written(1);
    x
}

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
    25\r\ndata: {\"choices\":[{\"text\":\"\\ud55c\"}]}\r\n2\r\n\n\n\r\n\
    e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

#[test]
fn the_request_is_one_piece_with_its_id_and_length() {
    let mut x = exchange();
    let text = String::from_utf8(std::mem::take(&mut x.request)).unwrap();
    assert_eq!(text, "POST / HTTP/1.1\r\nx-request-id: 7\r\ncontent-length: 2\r\n\r\n{}");
}

#[test]
fn an_answer_in_any_two_pieces_gives_the_same_record() {
    for cut in 1..ANSWER.len() {
        let mut x = exchange();
        assert_eq!(x.on_bytes(&ANSWER[..cut], 5), Progress::More, "cut at {cut}");
        assert_eq!(x.on_bytes(&ANSWER[cut..], 6), Progress::Ended { reusable: true });
        let done = x.into_completed();
        assert_eq!((done.record.end, done.record.end_ns), (EndKind::Ok, 6));
        assert_eq!((done.record.first_byte_ns, done.record.status), (Some(5), Some(200)));
        assert_eq!((done.record.chunks.len(), done.text.as_deref()), (2, Some("한")));
    }
}

#[test]
fn bytes_after_the_answer_or_before_the_request_was_sent_spoil_the_connection() {
    let mut x = exchange();
    assert_eq!(x.on_bytes(&[ANSWER, b"H"].concat(), 5), Progress::Ended { reusable: false });
    assert_eq!(x.record.end, EndKind::Ok);
    let mut x = exchange();
    x.record.written_ns = None;
    assert_eq!(x.on_bytes(ANSWER, 5), Progress::Ended { reusable: false });
}

#[test]
fn a_restart_forgets_the_first_attempt() {
    let mut x = exchange();
    x.restart();
    assert!(x.is_unanswered() && x.record.written_ns.is_none());
    assert_eq!(x.unsent().len(), x.request.len());
}
