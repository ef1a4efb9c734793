//! `content`: the fold alone.

use std::cell::RefCell;

use rejoin_core::content::Aggregator;
use rejoin_core::json::{Json, Kind};
use rejoin_core::lines::{Framing, Lines};

use crate::Component;
use crate::bindings::exports::rejoin::streams::content as wit;

impl wit::Guest for Component {
    type Aggregator = Fold;

    fn fold(events: String) -> Result<String, String> {
        let mut fold = Aggregator::new();
        list(&events)?.items().for_each(|event| fold.push(event));
        Ok(fold.parts())
    }
}

/// One fold in progress.
pub(crate) struct Fold(RefCell<Aggregator>);

impl wit::GuestAggregator for Fold {
    fn new() -> Self {
        Fold(RefCell::new(Aggregator::new()))
    }

    fn seeded(parts: String) -> Result<wit::Aggregator, String> {
        let fold = Aggregator::seeded(list(&parts)?);
        Ok(wit::Aggregator::new(Fold(RefCell::new(fold))))
    }

    fn push(&self, lines: String) {
        let mut fold = self.0.borrow_mut();
        for (_, event) in Lines::new(Framing::Ndjson, &lines) {
            if let Ok(event) = event {
                fold.push(event);
            }
        }
    }

    fn parts(&self) -> String {
        self.0.borrow().parts()
    }
}

fn list(text: &str) -> Result<Json<'_>, String> {
    let json = Json::parse(text)?;
    if json.kind() == Kind::Array { Ok(json) } else { Err("not a JSON list".into()) }
}
