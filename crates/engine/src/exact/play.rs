//! Playing a script: the writes of a stream, its faults, and its end.

use stopwatt_core::clock::monotonic_raw;

use super::config::RoleChunk;
use super::exchange::{Exchange, Stage};
use super::server::{ExactServer, seconds};
use super::truth::{Fault, FlushKind, TruthEnd};
use crate::api::{ApiError, Endpoint};
use crate::net::{Conclusion, ConnId, Net, Reply, Sent, push_chunk, push_last_chunk};

impl ExactServer {
    /// Does what the exchange was waiting to do.
    pub(super) fn play(&mut self, net: &mut Net, conn: ConnId, x: &mut Exchange) {
        match x.stage {
            Stage::Tokens => self.tokens(net, conn, x),
            Stage::Rest => self.rest(net, conn, x),
            Stage::Close => self.close(net, conn, x),
            Stage::Body => self.body(net, conn, x),
            Stage::Never => {}
        }
    }

    /// Writes the next tokens of a stream, or lets its fault strike.
    fn tokens(&mut self, net: &mut Net, conn: ConnId, x: &mut Exchange) {
        self.out.clear();
        self.out.append(&mut x.rest); // the head, if it waited for the first token
        let strikes = x.written >= x.script.fault_after;
        let mid_stream = matches!(x.script.fault, Some(Fault::Reset | Fault::Cut | Fault::Stall));
        if strikes && mid_stream && !self.out.is_empty() {
            let sent = net.send(conn, &self.out);
            x.note(self.keep, sent, FlushKind::Head, 0);
        }
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
}
