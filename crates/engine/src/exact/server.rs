//! The exact kind as a handler of the event loop.

use std::sync::Arc;

use stopwatt_core::clock::{Nanos, monotonic_raw};

use super::config::{ExactConfig, RoleChunk};
use super::exchange::{Exchange, Stage};
use super::script::Script;
use super::truth::{Fault, FlushKind, TruthEnd, TruthRecord};
use super::truth_log::TruthLog;
use crate::api::{ApiError, Call, Endpoint, EventStyle, GenerateRequest, Prompt, Surface, TokenizeRequest};
use crate::net::{ConnId, Handler, Net, Refusal, Reply, Request, push_chunk};
use crate::shutdown::Shutdown;
use crate::telemetry::Ended;
use crate::words;

/// The loop spins before deadlines only while there are no more open streams than this.
const SPIN_STREAMS: usize = 4;
/// Longest `x-request-id` that is kept.
const MAX_ID: usize = 256;

/// See the module.
pub(super) struct ExactServer {
    pub(super) config: ExactConfig,
    pub(super) surface: Arc<Surface>,
    truth: TruthLog,
    pub(super) keep: bool,
    shutdown: Shutdown,
    /// By slot of the connection.
    exchanges: Vec<Option<Exchange>>,
    open: usize,
    arrived: u64,
    /// The time during which nothing moves.
    frozen: Option<(Nanos, Nanos)>,
    pub(super) scratch: Vec<u8>,
    pub(super) out: Vec<u8>,
}

impl ExactServer {
    pub(super) fn new(
        config: ExactConfig,
        surface: Arc<Surface>,
        truth: TruthLog,
        shutdown: Shutdown,
    ) -> Self {
        let keep = truth.is_wanted();
        Self {
            config,
            surface,
            truth,
            keep,
            shutdown,
            exchanges: Vec::new(),
            open: 0,
            arrived: 0,
            frozen: None,
            scratch: Vec::new(),
            out: Vec::new(),
        }
    }

    pub(super) fn into_truth(self) -> TruthLog {
        self.truth
    }

    fn generate(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        endpoint: Endpoint,
        request: Request,
    ) -> Result<(), ApiError> {
        let id = request.head.request_id.filter(|id| id.len() <= MAX_ID);
        let mut parsed = GenerateRequest::parse(endpoint, &request.body, &self.surface.model_name)?;
        let prompt_tokens = words::count(&std::mem::replace(&mut parsed.prompt, Prompt::Tokens(Vec::new())));
        let limit =
            parsed.output_limit(prompt_tokens, self.config.max_model_len, self.config.default_output)?;
        let index = self.arrived;
        self.arrived += 1;
        let key = id.as_deref().map_or(index, |id| {
            id.bytes().fold(id.len() as u64, |key, byte| words::mix(key ^ u64::from(byte)))
        });
        let mut script = Script::new(&self.config, key, &parsed, limit);
        let style = EventStyle { crlf: self.config.shape.crlf, return_token_ids: parsed.return_token_ids };
        let answer = self.surface.answer(endpoint, style, id.as_deref(), index);
        let ttft = script.ttft(&self.config);
        let record = TruthRecord {
            request_id: id,
            index,
            received_ns: request.received_ns,
            prompt_tokens: u32::try_from(prompt_tokens).unwrap_or(u32::MAX),
            output_tokens: 0,
            status: if script.fault == Some(Fault::Http500) { 500 } else { 200 },
            fault: script.fault,
            flush_ns: Vec::with_capacity(if self.keep { limit.min(4096) as usize + 4 } else { 0 }),
            flush_tokens: Vec::new(),
            flush_kind: Vec::new(),
            end_ns: 0,
            end: TruthEnd::Complete,
        };
        let mut exchange = Exchange::new(parsed, script, answer, record);
        self.freeze(request.received_ns);
        exchange.due = self.thaw(request.received_ns + ttft);
        self.out.clear();
        if exchange.script.fault == Some(Fault::Http500) {
            exchange.stage = Stage::Body;
        } else if !exchange.request.stream {
            exchange.stage = Stage::Body;
            for _ in 1..exchange.script.total.div_ceil(self.config.tokens_per_chunk) {
                let gap = exchange.script.gap(&self.config, self.config.tokens_per_chunk);
                exchange.due = self.thaw(exchange.due + gap);
            }
        } else {
            exchange.framing = net.begin_stream(conn, &mut self.out);
            let at_once = endpoint == Endpoint::Chat && self.config.shape.role_chunk == RoleChunk::AtOnce;
            if at_once {
                self.scratch.clear();
                exchange.answer.role(&mut self.scratch);
                push_chunk(&mut self.out, exchange.framing, &self.scratch);
            }
            // With no time to the first token, the head goes out with it, in one write.
            if at_once || ttft > 0 {
                let kind = if at_once { FlushKind::Role } else { FlushKind::Head };
                let sent = net.send(conn, &self.out);
                exchange.note(self.keep, sent, kind, 0);
                self.out.clear();
            }
            exchange.rest.append(&mut self.out);
        }
        net.at(conn, exchange.due);
        if self.exchanges.len() <= conn.slot() {
            self.exchanges.resize_with(conn.slot() + 1, || None);
        }
        self.exchanges[conn.slot()] = Some(exchange);
        self.open += 1;
        self.surface.metrics.set_load(self.open, 0);
        Ok(())
    }

    fn tokenize(&self, body: &[u8]) -> Result<Reply, ApiError> {
        let request = TokenizeRequest::parse(body, &self.surface.model_name)?;
        let ids = words::tokens(&request.prompt);
        let strings: Option<Vec<String>> = request.return_token_strs.then(|| {
            words::render(&request.prompt)
                .iter()
                .flat_map(|text| words::split(text))
                .map(str::to_owned)
                .collect()
        });
        Ok(self.surface.tokenized(&ids, strings.as_deref()))
    }

    /// Sets the frozen time when the first request comes.
    fn freeze(&mut self, first: Nanos) {
        if let (None, Some(freeze)) = (self.frozen, self.config.freeze) {
            let begin = first + seconds(freeze.after_s);
            self.frozen = Some((begin, begin + seconds(freeze.for_s)));
        }
    }

    /// Moves a moment inside the frozen time to its end.
    pub(super) fn thaw(&self, at: Nanos) -> Nanos {
        match self.frozen {
            Some((begin, end)) if (begin..end).contains(&at) => end,
            _ => at,
        }
    }

    /// Closes the books on an exchange.
    fn finish(&mut self, mut x: Exchange, end: TruthEnd) {
        self.open -= 1;
        let metrics = &self.surface.metrics;
        metrics.set_load(self.open, 0);
        x.record.end = end;
        x.record.end_ns = monotonic_raw();
        match (end, x.first_token) {
            (TruthEnd::Complete, Some(first_token_ns)) => metrics.finished(&Ended {
                finish: x.script.finish,
                received_ns: x.record.received_ns,
                started_ns: x.record.received_ns,
                first_token_ns,
                last_token_ns: x.last_token,
                tokens: x.written,
            }),
            (TruthEnd::Fault, _) => metrics.failed(),
            _ => metrics.aborted(),
        }
        if self.keep {
            self.truth.push(x.record);
        }
    }

    /// Puts an exchange back, unless it is over.
    fn put_back(&mut self, net: &mut Net, conn: ConnId, x: Exchange) {
        match x.over {
            // A broken connection is reported by `closed`, whatever was still to be written.
            Some(end) if x.unstamped == 0 && !x.gone => {
                // An answer in one piece is ended by its reply, an aborted one by its abort.
                let aborted =
                    end == TruthEnd::Fault && matches!(x.script.fault, Some(Fault::Reset | Fault::Cut));
                if x.stage != Stage::Body && !aborted {
                    net.end(conn);
                }
                self.finish(x, end);
            }
            _ => self.exchanges[conn.slot()] = Some(x),
        }
    }

    fn take(&mut self, conn: ConnId) -> Option<Exchange> {
        self.exchanges.get_mut(conn.slot())?.take()
    }
}

impl Handler for ExactServer {
    fn request(&mut self, net: &mut Net, conn: ConnId, request: Request) {
        let reply = match self.surface.route(&request.head) {
            Err(reply) => reply,
            Ok(Call::Tokenize) => self.tokenize(&request.body).unwrap_or_else(Reply::from),
            Ok(call @ (Call::Completions | Call::Chat)) => {
                let endpoint = if call == Call::Chat { Endpoint::Chat } else { Endpoint::Completions };
                match self.generate(net, conn, endpoint, request) {
                    Ok(()) => return,
                    Err(error) => error.into(),
                }
            }
        };
        net.reply(conn, &reply);
    }

    fn due(&mut self, net: &mut Net, conn: ConnId) {
        let Some(mut x) = self.take(conn) else { return };
        self.play(net, conn, &mut x);
        self.put_back(net, conn, x);
    }

    fn woken(&mut self, _: &mut Net) {}

    fn written(&mut self, net: &mut Net, conn: ConnId, stamp: Nanos) {
        let Some(mut x) = self.take(conn) else { return };
        x.stamp(stamp);
        if x.over.is_none() && x.stage == Stage::Tokens {
            net.at(conn, x.due);
        }
        self.put_back(net, conn, x);
    }

    fn closed(&mut self, conn: ConnId) {
        if let Some(x) = self.take(conn) {
            let end = if self.shutdown.is_triggered() { TruthEnd::Shutdown } else { TruthEnd::ClientGone };
            self.finish(x, end);
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Reply {
        ApiError::from(refusal).into()
    }

    fn spin(&self) -> Nanos {
        if self.open <= SPIN_STREAMS { seconds(self.config.spin_s) } else { 0 }
    }
}

pub(super) fn seconds(s: f64) -> Nanos {
    (s * 1e9).round() as Nanos
}
