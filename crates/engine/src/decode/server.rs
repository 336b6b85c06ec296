//! The decoding kinds as a handler of the event loop: gives orders, writes answers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use stopwatt_core::clock::Nanos;

use super::order::{Notice, Order, Serial, Token, What};
use crate::api::{
    Answer, ApiError, Call, Delta, Endpoint, EventStyle, Field, GenerateRequest, Surface, Usage,
};
use crate::net::{ConnId, Framing, Handler, Net, Refusal, Reply, Request, Sent, push_chunk, push_last_chunk};
use crate::shutdown::Shutdown;

/// See the module.
pub(super) struct DecodeServer {
    surface: Arc<Surface>,
    orders: Sender<Order>,
    notices: Receiver<Notice>,
    shutdown: Shutdown,
    /// By slot of the connection.
    exchanges: Vec<Option<Exchange>>,
    next: Serial,
    scratch: Vec<u8>,
    out: Vec<u8>,
}

/// A request that is being answered.
struct Exchange {
    conn: ConnId,
    serial: Serial,
    request_id: Option<String>,
    /// Set once the request is accepted.
    stream: Option<Stream>,
}

struct Stream {
    request: Box<GenerateRequest>,
    answer: Answer,
    framing: Framing,
    tokens: u32,
    /// Collected for an answer that is not a stream.
    text: String,
    ids: Vec<u32>,
}

impl DecodeServer {
    pub(super) fn new(
        surface: Arc<Surface>,
        orders: Sender<Order>,
        notices: Receiver<Notice>,
        shutdown: Shutdown,
    ) -> Self {
        let (scratch, out) = (Vec::new(), Vec::new());
        Self { surface, orders, notices, shutdown, exchanges: Vec::new(), next: 0, scratch, out }
    }

    fn notice(&mut self, net: &mut Net, notice: Notice) {
        if matches!(notice.what, What::Ended) {
            return self.collapse(net);
        }
        // The client may have gone, and another one be there.
        let Some(exchange) = self.exchanges.get_mut(notice.slot).and_then(Option::as_mut) else { return };
        if exchange.serial != notice.serial {
            return;
        }
        let conn = exchange.conn;
        let over = match notice.what {
            What::Reply(reply) => net.reply(conn, &reply) != Sent::Gone,
            What::Accepted(request) => {
                self.accept(net, notice.slot, request);
                false
            }
            What::Token(token) => self.token(net, notice.slot, &token),
            What::Failed(error) => self.fail(net, notice.slot, &error),
            What::Ended => false,
        };
        if over {
            self.exchanges[notice.slot] = None;
        }
    }

    fn accept(&mut self, net: &mut Net, slot: usize, request: Box<GenerateRequest>) {
        let Some(exchange) = &mut self.exchanges[slot] else { return };
        let style = EventStyle { crlf: false, return_token_ids: request.return_token_ids };
        let (given, endpoint) = (exchange.request_id.as_deref(), request.endpoint);
        let answer = self.surface.answer(endpoint, style, given, exchange.serial);
        let mut framing = Framing::Chunked;
        if request.stream {
            // As with vLLM, the head is sent when the request is accepted.
            self.out.clear();
            framing = net.begin_stream(exchange.conn, &mut self.out);
            net.send(exchange.conn, &self.out);
        }
        exchange.stream =
            Some(Stream { request, answer, framing, tokens: 0, text: String::new(), ids: Vec::new() });
    }

    /// Writes a token; `true` when the exchange is over.
    fn token(&mut self, net: &mut Net, slot: usize, token: &Token) -> bool {
        let Some(Exchange { conn, stream: Some(stream), .. }) = &mut self.exchanges[slot] else {
            return false;
        };
        stream.tokens += 1;
        let usage =
            Usage { prompt: token.prompt_tokens, completion: stream.tokens, cached: token.cached_tokens };
        let finish = token.finish.as_ref().map(|(finish, stop)| (*finish, stop.as_deref()));
        if !stream.request.stream {
            stream.text.push_str(&token.text);
            stream.ids.push(token.id);
            let Some(finish) = finish else { return false };
            let body = stream.answer.whole(&stream.text, None, &stream.ids, finish, usage);
            return net.reply(*conn, &Reply::json(200, body)) != Sent::Gone;
        }
        self.out.clear();
        let (scratch, out, framing) = (&mut self.scratch, &mut self.out, stream.framing);
        if stream.tokens == 1 && stream.request.endpoint == Endpoint::Chat {
            // Its own piece in front of the first token, as vLLM has it.
            scratch.clear();
            stream.answer.role(scratch);
            push_chunk(out, framing, scratch);
        }
        scratch.clear();
        let usage_here = stream.request.continuous_usage.then_some(usage);
        let (text, ids) = (token.text.as_str(), [token.id]);
        stream.answer.delta(
            scratch,
            &Delta { text, field: Field::Content, token_ids: &ids, finish, usage: usage_here },
        );
        push_chunk(out, framing, scratch);
        if finish.is_some() {
            if stream.request.include_usage {
                scratch.clear();
                stream.answer.usage(scratch, usage);
                push_chunk(out, framing, scratch);
            }
            scratch.clear();
            stream.answer.done(scratch);
            push_chunk(out, framing, scratch);
            push_last_chunk(out, framing);
        }
        let conn = *conn;
        let sent = net.send(conn, &self.out);
        let over = finish.is_some() && sent != Sent::Gone;
        if over {
            net.end(conn);
        }
        over
    }

    /// Tells a client that its request failed; `true` when the exchange is over.
    fn fail(&mut self, net: &mut Net, slot: usize, error: &ApiError) -> bool {
        let Some(exchange) = &mut self.exchanges[slot] else { return false };
        let conn = exchange.conn;
        match &exchange.stream {
            Some(stream) if stream.request.stream => {
                self.scratch.clear();
                stream.answer.error(&mut self.scratch, error);
                stream.answer.done(&mut self.scratch);
                self.out.clear();
                push_chunk(&mut self.out, stream.framing, &self.scratch);
                push_last_chunk(&mut self.out, stream.framing);
                let gone = net.send(conn, &self.out) == Sent::Gone;
                if !gone {
                    net.end(conn);
                }
                !gone
            }
            _ => net.reply(conn, &error.clone().into()) != Sent::Gone,
        }
    }

    /// A thread has ended while the loop still runs: nothing will be computed any more.
    fn collapse(&mut self, net: &mut Net) {
        self.shutdown.trigger();
        let error = ApiError::new(500, "the engine has stopped");
        for slot in 0..self.exchanges.len() {
            if self.fail(net, slot, &error) {
                self.exchanges[slot] = None;
            }
        }
    }
}

impl Handler for DecodeServer {
    fn request(&mut self, net: &mut Net, conn: ConnId, request: Request) {
        let call = match self.surface.route(&request.head) {
            Ok(call @ (Call::Completions | Call::Chat | Call::Tokenize)) => call,
            Err(reply) => {
                net.reply(conn, &reply);
                return;
            }
        };
        let (serial, slot) = (self.next, conn.slot());
        self.next += 1;
        let order = Order::Read { serial, slot, call, body: request.body, received_ns: request.received_ns };
        if self.orders.send(order).is_err() {
            net.reply(conn, &ApiError::new(500, "the engine has stopped").into());
            return;
        }
        if self.exchanges.len() <= slot {
            self.exchanges.resize_with(slot + 1, || None);
        }
        self.exchanges[slot] =
            Some(Exchange { conn, serial, request_id: request.head.request_id, stream: None });
    }

    fn due(&mut self, _: &mut Net, _: ConnId) {}

    fn woken(&mut self, net: &mut Net) {
        while let Ok(notice) = self.notices.try_recv() {
            self.notice(net, notice);
        }
    }

    fn written(&mut self, _: &mut Net, _: ConnId, _: Nanos) {}

    fn closed(&mut self, conn: ConnId) {
        if let Some(exchange) = self.exchanges.get_mut(conn.slot()).and_then(Option::take) {
            let _ = self.orders.send(Order::Abort { serial: exchange.serial });
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Reply {
        ApiError::from(refusal).into()
    }
}
