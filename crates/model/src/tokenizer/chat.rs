//! Conversations as text.
//!
//! A model from a file brings its own template, in Jinja, and is rendered as Hugging Face renders it. Templates come
//! from anywhere: they see nothing but the messages, and their steps are limited.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

use super::TokenizerError;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant`, …
    pub role: String,
    /// What was said.
    pub content: String,
}

/// How a conversation becomes text.
#[derive(Debug, Clone)]
pub(super) enum Chat {
    /// The template of the model.
    Template(Environment<'static>),
    /// `<|im_start|>role … <|im_end|>`, for models that have these marks and no template.
    Marks,
    /// `role: …`, a message a line, for models without any marks.
    Lines,
}

/// Steps of a template's program before it is stopped. A conversation of a thousand messages takes some ten thousand.
const STEPS: u64 = 2_000_000;
const NAME: &str = "chat";

impl Chat {
    /// Compiles a template.
    pub(super) fn template(source: String) -> Result<Self, TokenizerError> {
        let mut env = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        env.set_syntax(syntax.build().map_err(|e| TokenizerError::Template(Box::new(e)))?);
        env.set_fuel(Some(STEPS));
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        env.add_template_owned(NAME, source).map_err(|e| TokenizerError::Template(Box::new(e)))?;
        Ok(Self::Template(env))
    }

    /// Text of a conversation, up to where the assistant begins to answer.
    pub(super) fn render(
        &self,
        messages: &[ChatMessage],
        bos: Option<&str>,
        eos: Option<&str>,
    ) -> Result<String, TokenizerError> {
        let (before, between, after, answer) = match self {
            Self::Template(env) => {
                let list: Vec<Value> = messages
                    .iter()
                    .map(|m| context! { role => m.role.as_str(), content => m.content.as_str() })
                    .collect();
                let values = context! {
                    messages => list,
                    add_generation_prompt => true,
                    bos_token => bos.unwrap_or_default(),
                    eos_token => eos.unwrap_or_default(),
                };
                let text = env.get_template(NAME).and_then(|template| template.render(values));
                return text.map_err(|e| TokenizerError::Template(Box::new(e)));
            }
            Self::Marks => ("<|im_start|>", "\n", "<|im_end|>\n", "<|im_start|>assistant\n"),
            Self::Lines => ("", ": ", "\n", "assistant: "),
        };
        let mut text = String::new();
        for ChatMessage { role, content } in messages {
            text.extend([before, role, between, content, after]);
        }
        text.push_str(answer);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> ChatMessage {
        ChatMessage { role: role.into(), content: content.into() }
    }

    #[test]
    fn templates_render_as_in_python() {
        // The shape of Llama's and SmolLM's templates: blocks on lines of their own, methods of Python strings.
        let source = "{% for m in messages %}\n  {%- if loop.first and m['role'] != 'system' %}S{% endif %}\n\
                      {{- m['role'] + ':' + m['content'].strip() + '|' }}\n{%- endfor %}\n\
                      {%- if add_generation_prompt %}{{ bos_token }}>{% endif %}";
        let chat = Chat::template(source.to_owned()).unwrap();
        let messages = [message("user", " hello \n"), message("assistant", "hi")];
        assert_eq!(chat.render(&messages, Some("<s>"), None).unwrap(), "Suser:hello|assistant:hi|<s>>");
    }

    #[test]
    fn a_template_that_refuses_or_never_ends_is_an_error() {
        for source in [
            "{{ raise_exception('roles must alternate') }}",
            "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}",
        ] {
            let chat = Chat::template(source.to_owned()).unwrap();
            assert!(matches!(chat.render(&[], None, None), Err(TokenizerError::Template(_))));
        }
        assert!(matches!(Chat::template("{% if".into()), Err(TokenizerError::Template(_))));
    }

    #[test]
    fn without_a_template_messages_are_marked_plainly() {
        let messages = [message("system", "be brief"), message("user", "hello")];
        assert_eq!(
            Chat::Lines.render(&messages, None, None).unwrap(),
            "system: be brief\nuser: hello\nassistant: "
        );
        assert_eq!(
            Chat::Marks.render(&messages[1..], None, None).unwrap(),
            "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
        );
    }
}
