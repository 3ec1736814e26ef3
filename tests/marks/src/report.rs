//! What is printed: a JSON line a mark, or Markdown tables.

use serde::Serialize;

/// One mark: a figure of ours beside a peer's or a goal.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured, from the general to the particular, parted by slashes.
    pub mark: String,
    /// Our figure.
    pub ours: f64,
    /// The peer's figure in the same run; none if the mark stands alone.
    pub peer: Option<f64>,
    /// Who the peer is.
    pub peer_name: Option<String>,
    /// Unit of both figures.
    pub unit: &'static str,
    /// `ours / peer`.
    pub ratio: Option<f64>,
    /// The bound, in words that name what it bounds: `ratio <= 1.5`, `ours <= 300`.
    pub goal: Option<String>,
    /// Whether the goal is met; none if there is none.
    pub met: Option<bool>,
}

impl Row {
    /// A figure of ours.
    pub fn new(mark: impl Into<String>, ours: f64, unit: &'static str) -> Self {
        Self {
            mark: mark.into(),
            ours,
            peer: None,
            peer_name: None,
            unit,
            ratio: None,
            goal: None,
            met: None,
        }
    }

    /// Beside a peer's.
    pub fn beside(mut self, peer_name: &str, peer: f64) -> Self {
        self.peer = Some(peer);
        self.peer_name = Some(peer_name.to_owned());
        self.ratio = (peer > 0.0).then_some(self.ours / peer);
        self
    }

    /// Ours must be at most `max`.
    pub fn at_most(mut self, max: f64) -> Self {
        self.goal = Some(format!("ours <= {}", number(max)));
        self.met = Some(self.ours <= max);
        self
    }

    /// Ours must be at least `min`.
    pub fn at_least(mut self, min: f64) -> Self {
        self.goal = Some(format!("ours >= {}", number(min)));
        self.met = Some(self.ours >= min);
        self
    }

    /// Ours must be at most `max` times the peer's.
    pub fn ratio_at_most(mut self, max: f64) -> Self {
        self.goal = Some(format!("ratio <= {max}"));
        self.met = self.ratio.map(|ratio| ratio <= max);
        self
    }
}

/// Where results go.
pub struct Report {
    json: bool,
    rows: Vec<Row>,
}

impl Report {
    /// Prints JSON lines if `json`, else Markdown.
    pub fn new(json: bool) -> Self {
        Self { json, rows: Vec::new() }
    }

    /// True if programs read it: they get every comparison, people get tables.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// One more mark. As JSON it is printed at once.
    pub fn add(&mut self, row: Row) {
        if self.json {
            println!("{}", serde_json::to_string(&row).expect("numbers and text are JSON"));
        } else {
            self.rows.push(row);
        }
    }

    /// Prints what was added since the last call as a table.
    pub fn table(&mut self, title: &str) {
        let rows = std::mem::take(&mut self.rows);
        if self.json || rows.is_empty() {
            return;
        }
        println!("### {title}\n\n| mark | ours | peer | | unit | ratio | goal | met |");
        println!("|---|---|---|---|---|---|---|---|");
        for row in rows {
            let Row { mark, ours, peer, peer_name, unit, ratio, goal, met } = row;
            let (peer, ratio) = (peer.map(number), ratio.map(number));
            let met = met.map(|met| if met { "yes" } else { "**no**" });
            println!(
                "| {mark} | {} | {} | {} | {unit} | {} | {} | {} |",
                number(ours),
                peer.unwrap_or_default(),
                peer_name.unwrap_or_default(),
                ratio.unwrap_or_default(),
                goal.unwrap_or_default(),
                met.unwrap_or_default()
            );
        }
        println!();
    }

    /// Prints how many of the goals added since the last call are met, and those that are not.
    pub fn misses(&mut self, title: &str) {
        let goals = self.rows.iter().filter(|row| row.met.is_some()).count();
        self.rows.retain(|row| row.met == Some(false));
        if !self.json {
            println!("{} of {goals} goals of {title} are met.\n", goals - self.rows.len());
        }
        self.table(&format!("{title}: goals that are not met"));
    }

    /// Prints a table of text, one row a scheme; nothing as JSON.
    pub fn matrix(&self, title: &str, head: &[String], rows: &[(String, Vec<String>)]) {
        if self.json {
            return;
        }
        println!("### {title}\n\n| scheme | {} |\n|---|{}", head.join(" | "), "---|".repeat(head.len()));
        for (name, cells) in rows {
            println!("| {name} | {} |", cells.join(" | "));
        }
        println!();
    }
}

/// A number with three significant digits, or whole if it is large.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        abs if abs >= 100.0 => format!("{value:.0}"),
        abs if abs >= 10.0 => format!("{value:.1}"),
        abs if abs >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.2} MB", count as f64 / 1e6),
    }
}

/// A span for people, from microseconds.
pub fn span(micros: f64) -> String {
    match micros {
        ..1e3 => format!("{} us", number(micros)),
        1e3..1e6 => format!("{} ms", number(micros / 1e3)),
        _ => format!("{} s", number(micros / 1e6)),
    }
}
