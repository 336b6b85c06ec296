//! The exact kind as a handler of the event loop.

use std::sync::Arc;

use stopwatt_core::clock::{Nanos, monotonic_raw, unix_now};

use super::config::{ExactConfig, RoleChunk};
use super::exchange::{Exchange, Stage};
use super::script::Script;
use super::truth::{Fault, FlushKind, TruthEnd, TruthRecord};
use super::truth_log::TruthLog;
use crate::api::{
    Answer, ApiError, Call, Endpoint, EventStyle, GenerateRequest, Surface, TokenizeRequest, unique_id,
};
use crate::net::{
    Conclusion, ConnId, Handler, Net, Refusal, Reply, Request, Sent, push_chunk, push_last_chunk,
};
use crate::shutdown::Shutdown;
use crate::telemetry::Ended;
use crate::words;

/// The loop spins before deadlines only while there are no more open streams than this.
const SPIN_STREAMS: usize = 4;
/// Longest `x-request-id` that is kept.
const MAX_ID: usize = 256;

/// See the module.
pub(super) struct ExactServer {
    config: ExactConfig,
    surface: Arc<Surface>,
    truth: TruthLog,
    keep: bool,
    shutdown: Shutdown,
    /// By slot of the connection.
    exchanges: Vec<Option<Exchange>>,
    open: usize,
    arrived: u64,
    /// The time during which nothing moves.
    frozen: Option<(Nanos, Nanos)>,
    scratch: Vec<u8>,
    out: Vec<u8>,
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
        let parsed = GenerateRequest::parse(endpoint, &request.body, &self.surface.model_name)?;
        let prompt_tokens = words::count(&parsed.prompt);
        let limit =
            parsed.output_limit(prompt_tokens, self.config.max_model_len, self.config.default_output)?;
        let index = self.arrived;
        self.arrived += 1;
        let key = id.as_deref().map_or(index, |id| {
            id.bytes().fold(id.len() as u64, |key, byte| words::mix(key ^ u64::from(byte)))
        });
        let mut script = Script::new(&self.config, key, &parsed, limit);
        let style = EventStyle { crlf: self.config.shape.crlf, return_token_ids: parsed.return_token_ids };
        let answer_id = unique_id(endpoint, id.as_deref(), index);
        let answer =
            Answer::new(endpoint, style, answer_id, unix_now() / 1_000_000_000, &self.surface.model_name);
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
    fn thaw(&self, at: Nanos) -> Nanos {
        match self.frozen {
            Some((begin, end)) if (begin..end).contains(&at) => end,
            _ => at,
        }
    }

    /// Writes the next tokens of a stream, or lets its fault strike.
    fn tokens(&mut self, net: &mut Net, conn: ConnId, x: &mut Exchange) {
        self.out.clear();
        self.out.append(&mut x.rest); // the head, if it waited for the first token
        let strikes = x.written >= x.script.fault_after;
        match x.script.fault {
            Some(fault @ (Fault::Reset | Fault::Cut)) if strikes => {
                let how = if fault == Fault::Reset { Conclusion::Reset } else { Conclusion::Close };
                x.over = Some(TruthEnd::Fault);
                return net.abort(conn, how);
            }
            Some(Fault::Stall) if strikes => {
                x.stage = Stage::Never;
                return;
            }
            Some(Fault::ErrorEvent) if strikes => {
                x.push_error(&mut self.scratch, &mut self.out);
                let sent = net.send(conn, &self.out);
                x.note(self.keep, sent, FlushKind::Error, 0);
                x.over = Some(TruthEnd::Fault);
                return;
            }
            Some(Fault::Garbled) if strikes && !x.garbled => {
                x.garbled = true;
                self.scratch.clear();
                x.answer.garbled(&mut self.scratch);
                push_chunk(&mut self.out, x.framing, &self.scratch);
            }
            _ => {}
        }
        let chat = matches!(x.request.endpoint, Endpoint::Chat);
        if x.written == 0 && chat && self.config.shape.role_chunk == RoleChunk::WithFirstToken {
            self.scratch.clear();
            x.answer.role(&mut self.scratch);
            push_chunk(&mut self.out, x.framing, &self.scratch);
            let sent = net.send(conn, &self.out);
            x.note(self.keep, sent, FlushKind::Role, 0);
            self.out.clear();
        }
        let begin = self.out.len();
        let (kind, tokens) = x.push_events(&self.config, &mut self.scratch, &mut self.out);
        if self.config.shape.split_s > 0.0
            && let Some(cut) = self.out[begin..].iter().position(|b| *b >= 0x80)
        {
            return self.split(net, conn, x, begin + cut + 1, kind, tokens);
        }
        let sent = net.send(conn, &self.out);
        x.note(self.keep, sent, kind, tokens);
        self.count(x, sent, tokens);
        self.after_tokens(net, conn, x);
    }

    /// Sends the first part of what is in `out`, up to `cut`, and keeps the rest for a moment later.
    fn split(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        x: &mut Exchange,
        cut: usize,
        kind: FlushKind,
        tokens: u32,
    ) {
        let sent = net.send(conn, &self.out[..cut]);
        x.note(self.keep, sent, kind, 0);
        x.rest.extend_from_slice(&self.out[cut..]);
        x.rest_tokens = tokens;
        x.stage = Stage::Rest;
        net.at(conn, x.due + seconds(self.config.shape.split_s));
    }

    fn rest(&mut self, net: &mut Net, conn: ConnId, x: &mut Exchange) {
        let (rest, tokens) = (std::mem::take(&mut x.rest), std::mem::take(&mut x.rest_tokens));
        let sent = net.send(conn, &rest);
        x.note(self.keep, sent, FlushKind::Rest, tokens);
        self.count(x, sent, tokens);
        x.stage = Stage::Tokens;
        self.after_tokens(net, conn, x);
    }

    /// Plans the next write, or ends the stream.
    fn after_tokens(&mut self, net: &mut Net, conn: ConnId, x: &mut Exchange) {
        let fault_to_come = match x.script.fault {
            Some(Fault::Garbled) => !x.garbled,
            Some(_) => true,
            None => false,
        };
        if x.written < x.script.total || fault_to_come {
            let tokens = x.next_write(&self.config);
            let gap = x.script.gap(&self.config, tokens);
            x.due = self.thaw(x.due + gap);
            // While the kernel takes no more, the stream waits: `written` goes on with it.
            if x.unstamped == 0 {
                net.at(conn, x.due);
            }
            return;
        }
        self.out.clear();
        let kind = x.push_tail(&self.config, &mut self.scratch, &mut self.out);
        if !self.out.is_empty() {
            let sent = net.send(conn, &self.out);
            x.note(self.keep, sent, kind, 0);
        }
        if self.config.shape.slow_close_s > 0.0 {
            x.stage = Stage::Close;
            net.at(conn, monotonic_raw() + seconds(self.config.shape.slow_close_s));
        } else {
            x.over = Some(TruthEnd::Complete);
        }
    }

    fn close(&mut self, net: &mut Net, conn: ConnId, x: &mut Exchange) {
        self.out.clear();
        push_last_chunk(&mut self.out, x.framing);
        if !self.out.is_empty() {
            let sent = net.send(conn, &self.out);
            x.note(self.keep, sent, FlushKind::Done, 0);
        }
        x.over = Some(TruthEnd::Complete);
    }

    fn body(&mut self, net: &mut Net, conn: ConnId, x: &mut Exchange) {
        let (reply, tokens) = if x.script.fault == Some(Fault::Http500) {
            (ApiError::new(500, "this error was scripted").into(), 0)
        } else {
            (Reply::json(200, x.body(&self.config)), x.script.total)
        };
        let sent = net.reply(conn, &reply);
        // The loop itself ends this exchange, so a stamp that is late would never come: now is near enough.
        let sent = if sent == Sent::Later { Sent::Now(monotonic_raw()) } else { sent };
        x.note(self.keep, sent, FlushKind::Body, tokens);
        self.count(x, sent, tokens);
        x.over = Some(if tokens == 0 { TruthEnd::Fault } else { TruthEnd::Complete });
    }

    #[inline]
    fn count(&self, x: &mut Exchange, sent: Sent, tokens: u32) {
        let now = match sent {
            Sent::Now(stamp) => stamp,
            Sent::Later | Sent::Gone => monotonic_raw(),
        };
        if tokens == 0 {
            return;
        }
        match x.first_token {
            None => {
                x.first_token = Some(now);
                self.surface.metrics.first_tokens(now - x.record.received_ns, x.record.prompt_tokens, tokens);
            }
            Some(_) => self.surface.metrics.next_tokens(now - x.last_token, tokens),
        }
        x.last_token = now;
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
        match x.stage {
            Stage::Tokens => self.tokens(net, conn, &mut x),
            Stage::Rest => self.rest(net, conn, &mut x),
            Stage::Close => self.close(net, conn, &mut x),
            Stage::Body => self.body(net, conn, &mut x),
            Stage::Never => {}
        }
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

fn seconds(s: f64) -> Nanos {
    (s * 1e9).round() as Nanos
}
