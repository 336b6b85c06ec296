//! The kind that reads pages: a chat brings an image, a reader says what stands there, and its words are the tokens.
//!
//! ```text
//! event loop ──Order──► desk ──Page──► readers, max_num_seqs threads ──Notice──► event loop
//! ```
//!
//! An answer begins when its page has been read, so that a page that cannot be read still gets its HTTP status. A client
//! that goes away frees its reader.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stopwatt_core::clock::{Nanos, monotonic_raw};

use super::order::{Notice, Notices, Order, Serial, Token, What};
use super::server::DecodeServer;
use super::{join, spawn};
use crate::api::{ApiError, Call, Endpoint, Finish, GenerateRequest, Prompt, Surface, TokenizeRequest};
use crate::config::OcrConfig;
use crate::error::ServeError;
use crate::net::{EventLoop, Reply};
use crate::page_reader::{PageReader, ReadProblem};
use crate::serve::{Front, Listening};
use crate::shutdown::Shutdown;
use crate::telemetry::Ended;
use crate::words;

/// Output tokens of a request that sets no limit.
const DEFAULT_OUTPUT: u32 = 16_384;
/// Side of the square of pixels that counts as a token of an image, as in Qwen-VL.
const PATCH: f64 = 28.0;

/// Serves until shut down.
pub(crate) fn serve(
    front: Front,
    config: &OcrConfig,
    reader: Arc<dyn PageReader>,
    ready: impl FnOnce(&Listening),
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    if config.max_num_seqs == 0 {
        let problem = "it must be at least 1".to_owned();
        return Err(ServeError::Setting { setting: "max_num_seqs", problem });
    }
    let surface = Arc::new(Surface::new(front.model_name.clone(), config.max_model_len, front.token.clone()));
    let mut facts = reader.facts();
    facts.insert("kind".to_owned(), "ocr".to_owned());
    facts.insert("max_num_seqs".to_owned(), config.max_num_seqs.to_string());
    let listening = front.listening(facts)?;
    let (orders, inbox) = channel();
    let (pages, waiting) = channel();
    let (notices, received) = Notices::channel(front.waker.clone());
    let shared = Arc::new(Shared {
        surface: surface.clone(),
        reader,
        config: config.clone(),
        pages: Mutex::new(waiting),
        live: Mutex::new(HashSet::new()),
        queued: AtomicUsize::new(0),
        running: AtomicUsize::new(0),
    });
    let server = DecodeServer::new(surface, orders, received, shutdown.clone());
    let event_loop =
        EventLoop::new(front.listener, front.wakeups, front.limits, server).map_err(ServeError::EventLoop)?;
    let mut threads = Vec::new();
    for _ in 0..config.max_num_seqs {
        let (shared, notices) = (shared.clone(), notices.clone());
        threads.push(("reader", spawn("reader", move || shared.read_pages(&notices))?));
    }
    threads.push(("desk", spawn("desk", move || shared.take_orders(&inbox, pages, &notices))?));
    ready(&listening);
    // The desk ends when nobody can give it orders, readers when the desk has ended.
    let ended = event_loop.run(shutdown).map(drop).map_err(ServeError::EventLoop);
    threads.into_iter().map(|(name, thread)| join(name, thread)).fold(ended, Result::and)
}

/// A page that waits for a reader.
struct Page {
    serial: Serial,
    slot: usize,
    request: Box<GenerateRequest>,
    image: Vec<u8>,
    prompt_tokens: u32,
    max_tokens: u32,
    received_ns: Nanos,
}

struct Shared {
    surface: Arc<Surface>,
    reader: Arc<dyn PageReader>,
    config: OcrConfig,
    pages: Mutex<Receiver<Page>>,
    /// Requests whose clients still wait.
    live: Mutex<HashSet<Serial>>,
    queued: AtomicUsize,
    running: AtomicUsize,
}

impl Shared {
    fn take_orders(&self, inbox: &Receiver<Order>, pages: Sender<Page>, notices: &Notices) {
        while let Ok(order) = inbox.recv() {
            match order {
                Order::Abort { serial } => self.forget(serial),
                Order::Read { serial, slot, call, body, received_ns } => {
                    let told = match call {
                        Call::Tokenize => self.tokenize(&body).map(Some),
                        Call::Completions => Err(ApiError::field("prompt", "send a chat with one image")),
                        Call::Chat => self.page(serial, slot, &body, received_ns).map(|page| {
                            self.queued.fetch_add(1, Ordering::Relaxed);
                            self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(serial);
                            // Readers outlive the desk.
                            let _ = pages.send(page);
                            self.tell_load();
                            None
                        }),
                    };
                    if let Some(reply) = told.unwrap_or_else(|error| Some(error.into())) {
                        tell(notices, serial, slot, What::Reply(reply));
                    }
                }
            }
        }
    }

    fn page(&self, serial: Serial, slot: usize, body: &[u8], received_ns: Nanos) -> Result<Page, ApiError> {
        let mut request = GenerateRequest::parse_with_images(Endpoint::Chat, body, &self.surface.model_name)?;
        let words = words::count(&request.prompt);
        let images = match &mut request.prompt {
            Prompt::Chat(messages) => {
                messages.iter_mut().flat_map(|m| std::mem::take(&mut m.images)).collect()
            }
            _ => Vec::new(),
        };
        let [image]: [Vec<u8>; 1] = images.try_into().map_err(|images: Vec<_>| {
            ApiError::field("messages", format!("one image is read; {} were sent", images.len()))
        })?;
        let prompt_tokens = words + image_tokens(&image) as usize;
        let max_tokens = request.output_limit(prompt_tokens, self.surface.max_model_len, DEFAULT_OUTPUT)?;
        if self.queued.load(Ordering::Relaxed) >= self.config.max_waiting {
            return Err(ApiError::new(503, "too many pages wait to be read"));
        }
        request.prompt = Prompt::Tokens(Vec::new());
        Ok(Page {
            serial,
            slot,
            request: Box::new(request),
            image,
            prompt_tokens: u32::try_from(prompt_tokens).unwrap_or(u32::MAX),
            max_tokens,
            received_ns,
        })
    }

    fn tokenize(&self, body: &[u8]) -> Result<Reply, ApiError> {
        let request = TokenizeRequest::parse(body, &self.surface.model_name)?;
        Ok(self.surface.tokenized(&words::tokens(&request.prompt), None))
    }

    fn read_pages(&self, notices: &Notices) {
        loop {
            // Whoever waits holds the lock; the others wait for it.
            let page = self.pages.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(page) = page else { return };
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.running.fetch_add(1, Ordering::Relaxed);
            self.tell_load();
            let serial = page.serial;
            if self.is_live(serial) {
                self.answer(page, notices);
            }
            self.forget(serial);
            self.running.fetch_sub(1, Ordering::Relaxed);
            self.tell_load();
        }
    }

    fn answer(&self, page: Page, notices: &Notices) {
        let Page { serial, slot, prompt_tokens, received_ns, .. } = page;
        let started_ns = monotonic_raw();
        let metrics = &self.surface.metrics;
        let text = match self.reader.read(&page.image, &|| !self.is_live(serial)) {
            Ok(text) => text,
            Err(problem) => {
                metrics.failed();
                let error = match &problem {
                    ReadProblem::Image(_) => ApiError::field("messages", problem.to_string()),
                    ReadProblem::Reader(_) => ApiError::new(500, problem.to_string()),
                };
                return tell(notices, serial, slot, What::Reply(error.into()));
            }
        };
        let (pieces, finish) = pieces(&text, page.max_tokens);
        let mut due = received_ns + self.config.ttft.as_nanos() as Nanos;
        sleep_until(due);
        due = due.max(monotonic_raw());
        let first_token_ns = due;
        notices.queue(Notice { serial, slot, what: What::Accepted(page.request) });
        for (i, piece) in pieces.iter().enumerate() {
            if i > 0 && !self.config.itl.is_zero() {
                due += self.config.itl.as_nanos() as Nanos;
                notices.wake();
                sleep_until(due);
                if !self.is_live(serial) {
                    return metrics.aborted();
                }
            }
            let token = Token {
                id: words::id(piece),
                text: (*piece).to_owned(),
                finish: (i + 1 == pieces.len()).then_some((finish, None)),
                prompt_tokens,
                cached_tokens: 0,
            };
            notices.queue(Notice { serial, slot, what: What::Token(token) });
        }
        notices.wake();
        let tokens = pieces.len() as u32;
        metrics.first_tokens(first_token_ns - received_ns, prompt_tokens, 1);
        let last_token_ns = monotonic_raw();
        metrics.finished(&Ended { finish, received_ns, started_ns, first_token_ns, last_token_ns, tokens });
    }

    fn is_live(&self, serial: Serial) -> bool {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).contains(&serial)
    }

    fn forget(&self, serial: Serial) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&serial);
    }

    fn tell_load(&self) {
        let (running, queued) = (self.running.load(Ordering::Relaxed), self.queued.load(Ordering::Relaxed));
        self.surface.metrics.set_load(running, queued);
    }
}

fn tell(notices: &Notices, serial: Serial, slot: usize, what: What) {
    notices.queue(Notice { serial, slot, what });
    notices.wake();
}

fn sleep_until(when: Nanos) {
    if let Ok(rest @ 1..) = u64::try_from(when - monotonic_raw()) {
        std::thread::sleep(Duration::from_nanos(rest));
    }
}

/// The tokens of a text: words with the white space behind them. There is one at least, which may be empty.
fn pieces(text: &str, most: u32) -> (Vec<&str>, Finish) {
    let mut pieces: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
    let finish = if pieces.len() > most as usize { Finish::Length } else { Finish::Stop };
    pieces.truncate(most as usize);
    if pieces.is_empty() {
        pieces.push("");
    }
    (pieces, finish)
}

/// Tokens that an image counts for: its squares of 28 pixels, as a Qwen-VL model of that patch would have; none for what is
/// not PNG.
fn image_tokens(image: &[u8]) -> u32 {
    let side = |at: usize| -> Option<f64> {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        Some((f64::from(u32::from_be_bytes(bytes)) / PATCH).round().max(1.0))
    };
    let png = image.starts_with(b"\x89PNG\r\n\x1a\n");
    match (side(16), side(20)) {
        (Some(width), Some(height)) if png => (width * height) as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_tokens_and_nothing_is_lost() {
        let text = "처방전\n아테놀올정 50mg  1일 2회\n";
        let (all, finish) = pieces(text, 100);
        assert_eq!((all.concat().as_str(), all.len(), finish), (text, 6, Finish::Stop));
        assert_eq!(pieces(text, 2), (vec!["처방전\n", "아테놀올정 "], Finish::Length));
        assert_eq!(pieces("", 9), (vec![""], Finish::Stop));
    }

    #[test]
    fn an_a4_page_has_the_published_number_of_patches() {
        // 210 × 297 mm at 150 and 300 DPI: 2,772 and 11,125 tokens by the rule of 28 pixels (QwenLM/Qwen3-VL issue 931).
        let png = |width: u32, height: u32| {
            let mut head = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
            head.extend(width.to_be_bytes());
            head.extend(height.to_be_bytes());
            image_tokens(&head)
        };
        assert_eq!((png(1240, 1754), png(2480, 3508), image_tokens(b"x")), (2772, 11_125, 0));
    }
}
