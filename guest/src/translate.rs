//! `translate`: a provider's body to records.

use std::cell::RefCell;

use rejoin_core::translate::{Dialect, Translated, Translator};

use crate::Component;
use crate::bindings::exports::rejoin::streams::translate as wit;

impl wit::Guest for Component {
    type Translator = Body;
}

/// One body in progress.
pub(crate) struct Body(RefCell<Translator>);

impl wit::GuestTranslator for Body {
    fn new(dialect: wit::Dialect) -> Self {
        let dialect = match dialect {
            wit::Dialect::Events => Dialect::Events,
            wit::Dialect::OpenaiChat => Dialect::OpenaiChat,
            wit::Dialect::OpenaiResponses => Dialect::OpenaiResponses,
            wit::Dialect::AnthropicMessages => Dialect::AnthropicMessages,
        };
        Body(RefCell::new(Translator::new(dialect)))
    }

    fn push(&self, lines: String, index_at_least: u64) -> wit::Translated {
        let mut body = self.0.borrow_mut();
        body.index_at_least(index_at_least);
        translated(body.push(&lines))
    }

    fn finish(&self, index_at_least: u64) -> wit::Translated {
        let mut body = self.0.borrow_mut();
        body.index_at_least(index_at_least);
        translated(body.finish())
    }
}

fn translated(from: Translated) -> wit::Translated {
    wit::Translated {
        records: from.records,
        bad: from.bad.map(|bad| wit::BadChunk { line: bad.line, reason: bad.reason }),
    }
}
