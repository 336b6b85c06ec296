//! Reads bodies, tokenises prompts and checks limits, on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use super::order::{Notice, Notices, Order, Serial, Task, What, Work};
use crate::api::{ApiError, Call, Endpoint, GenerateRequest, Prompt, Surface, TokenizeRequest};
use crate::net::Reply;

/// Output tokens of a completion that sets no limit, as in OpenAI's API and in vLLM.
const COMPLETION_OUTPUT: u32 = 16;

/// How prompts become tokens.
pub(super) trait Language: Send + Sync {
    /// The tokens of a prompt.
    fn tokens(&self, prompt: &Prompt) -> Result<Vec<u32>, ApiError>;
    /// The text of each token.
    fn strings(&self, prompt: &Prompt, tokens: &[u32]) -> Vec<String>;
}

/// See the module.
pub(super) struct Intake {
    pub(super) surface: Arc<Surface>,
    pub(super) language: Arc<dyn Language>,
    pub(super) default_output: u32,
    pub(super) notices: Notices,
    pub(super) engine: Sender<Work>,
}

impl Intake {
    /// Works until nobody can give orders any more.
    pub(super) fn run(self, inbox: &Receiver<Order>) {
        while let Ok(order) = inbox.recv() {
            match order {
                // The engine is gone only when its thread is, which the loop notices by itself.
                Order::Abort { serial } => drop(self.engine.send(Work::Abort { serial })),
                Order::Read { serial, slot, call, body, received_ns } => {
                    let endpoint = match call {
                        Call::Tokenize => {
                            let reply = self.tokenize(&body).unwrap_or_else(Reply::from);
                            self.tell(serial, slot, What::Reply(reply));
                            continue;
                        }
                        Call::Completions => Endpoint::Completions,
                        Call::Chat => Endpoint::Chat,
                    };
                    match self.generate(endpoint, &body) {
                        Err(error) => self.tell(serial, slot, What::Reply(error.into())),
                        Ok((request, prompt, max_tokens)) => {
                            self.tell(serial, slot, What::Accepted(Box::new(request.clone())));
                            let task = Task { serial, slot, request, prompt, max_tokens, received_ns };
                            let _ = self.engine.send(Work::Add(Box::new(task)));
                        }
                    }
                }
            }
        }
    }

    fn tell(&self, serial: Serial, slot: usize, what: What) {
        self.notices.queue(Notice { serial, slot, what });
        self.notices.wake();
    }

    fn generate(
        &self,
        endpoint: Endpoint,
        body: &[u8],
    ) -> Result<(GenerateRequest, Vec<u32>, u32), ApiError> {
        let mut request = GenerateRequest::parse(endpoint, body, &self.surface.model_name)?;
        let tokens = self.language.tokens(&request.prompt)?;
        let default = if endpoint == Endpoint::Chat { self.default_output } else { COMPLETION_OUTPUT };
        let max_tokens = request.output_limit(tokens.len(), self.surface.max_model_len, default)?;
        // Nobody needs the text of the prompt any more, and it may be long.
        request.prompt = Prompt::Tokens(Vec::new());
        Ok((request, tokens, max_tokens))
    }

    fn tokenize(&self, body: &[u8]) -> Result<Reply, ApiError> {
        let request = TokenizeRequest::parse(body, &self.surface.model_name)?;
        let tokens = self.language.tokens(&request.prompt)?;
        let strings = request.return_token_strs.then(|| self.language.strings(&request.prompt, &tokens));
        Ok(self.surface.tokenized(&tokens, strings.as_deref()))
    }
}
