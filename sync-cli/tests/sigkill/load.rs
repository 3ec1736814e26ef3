//! A client that writes, and remembers what the node has said to be durable.
//!
//! What was answered is known. What was asked and not answered, and whatever was written without waiting for the
//! disk, may be there or not after a kill. After each check what was found is what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::http::Http;

/// Elements that a client keeps in its set: older ones are removed again.
const ELEMENTS: u64 = 60;

/// Fields of a client's map.
const FIELDS: u64 = 20;

/// What may be found after a kill.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Its keys end in this.
    pub(crate) name: String,
    pub(crate) level: &'static str,
    next: u64,
    /// Of each element that was ever added and may be there: false if it need not be.
    elements: BTreeMap<u64, bool>,
    /// The last element that was asked to be removed.
    removed: u64,
    /// Of each field, the values that may be found: the last one that is durable, and later ones.
    fields: BTreeMap<u64, Vec<Option<u64>>>,
    /// The least and the most that the counter may show.
    count: (u64, u64),
    pub(crate) asked: u64,
    pub(crate) answered: u64,
}

impl Client {
    pub(crate) fn new(name: &str, level: &'static str) -> Self {
        Self { name: name.to_owned(), level, ..Self::default() }
    }

    /// Writes until told to stop, or until the node is gone.
    pub(crate) fn write(&mut self, socket: &str, stop: &AtomicBool) {
        let Ok(mut http) = Http::connect(socket) else { return };
        while !stop.load(Ordering::Relaxed) {
            if !self.once(&mut http) {
                return;
            }
        }
    }

    /// One write; false if the node did not answer it as done.
    fn once(&mut self, http: &mut Http) -> bool {
        let (name, number) = (self.name.clone(), self.next);
        self.next += 1;
        let (path, body) = match number % 4 {
            0 => {
                self.elements.insert(number, false);
                ("/v1/set/add", json!({"key": format!("set/{name}"), "element": number.to_string()}))
            }
            1 => {
                self.count.1 += 1;
                ("/v1/counter/add", json!({"key": format!("count/{name}"), "by": 1}))
            }
            2 => {
                let field = number / 4 % FIELDS;
                self.fields.entry(field).or_insert_with(|| vec![None]).push(Some(number));
                let (field, value) = (field.to_string(), number.to_string());
                ("/v1/map/put", json!({"key": format!("map/{name}"), "field": field, "value": value}))
            }
            _ => {
                let Some(oldest) = self.oldest() else { return true };
                self.removed = oldest;
                self.elements.insert(oldest, false);
                ("/v1/set/remove", json!({"key": format!("set/{name}"), "element": oldest.to_string()}))
            }
        };
        self.asked += 1;
        let answer = http.post(path, self.level, &body);
        if !matches!(answer, Ok((200, _))) {
            return false;
        }
        self.answered += 1;
        if self.level != "none" {
            self.is_durable(number);
        }
        true
    }

    /// The oldest element that nobody has asked to be removed, if there are enough behind it.
    fn oldest(&self) -> Option<u64> {
        let mut left = self.elements.range(self.removed + 1..).map(|(element, _)| *element);
        let oldest = left.next();
        oldest.filter(|_| left.count() as u64 >= ELEMENTS)
    }

    fn is_durable(&mut self, number: u64) {
        let removed = self.removed;
        match number % 4 {
            0 => drop(self.elements.insert(number, true)),
            1 => self.count.0 += 1,
            2 => {
                let field = self.fields.get_mut(&(number / 4 % FIELDS)).expect("it was just written");
                field.drain(..field.len() - 1);
            }
            _ => drop(self.elements.remove(&removed)),
        }
    }

    /// Compares what a node holds with what it has answered; from then on that is what is known.
    pub(crate) fn check(&mut self, http: &mut Http) -> Result<(), String> {
        let name = self.name.clone();
        let about = |error: std::io::Error| format!("{name}: {error}");
        let set = http.get(&format!("/v1/set?key=set/{name}")).map_err(about)?;
        let number =
            |text: &str| text.parse::<u64>().map_err(|_| format!("{name}: {text} was never written"));
        let mut found = BTreeSet::new();
        for element in set["elements"].as_array().into_iter().flatten() {
            found.insert(number(element.as_str().unwrap_or_default())?);
        }
        if let Some(lost) = self.elements.iter().find(|(n, durable)| **durable && !found.contains(n)) {
            return Err(format!("set/{name}: {} was acknowledged and is gone", lost.0));
        }
        if let Some(other) = found.iter().find(|element| !self.elements.contains_key(element)) {
            return Err(format!("set/{name}: {other} is there, and it was removed or never added"));
        }
        self.elements = found.into_iter().map(|element| (element, true)).collect();

        let count = http.get(&format!("/v1/counter?key=count/{name}")).map_err(about)?;
        let count = count["value"].as_u64().unwrap_or_default();
        if count < self.count.0 || count > self.count.1 {
            return Err(format!("count/{name}: {count} is none of {:?}", self.count));
        }
        self.count = (count, count);

        let map = http.get(&format!("/v1/map?key=map/{name}")).map_err(about)?;
        for (field, may) in &mut self.fields {
            let value = map["entries"][field.to_string()].as_str().map(number).transpose()?;
            if !may.contains(&value) {
                return Err(format!("map/{name}: field {field} holds {value:?}, which is none of {may:?}"));
            }
            *may = vec![value];
        }
        Ok(())
    }
}
