//! The language of the rules: selectors, `rate`, `increase` and `delta` over a window, `+ - * /`, `>` and `<`.
//!
//! Anything else is refused when it is read, so that a rule that this cannot judge does not pass for judged.

use super::scrape::{Labels, Sample, Scrapes, labels_of};

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number.
    Number(f64),
    /// The last value of each series.
    Instant(Selector),
    /// A function of a window of each series, in seconds.
    Window(Function, Selector, f64),
    /// Two of them, with a sign between.
    Binary(char, Box<Expr>, Box<Expr>),
}

/// Which series.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// Their name.
    pub name: String,
    /// Values that their labels have.
    pub labels: Labels,
}

/// What is made of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Of a counter: by the second.
    Rate,
    /// Of a counter: in the whole window.
    Increase,
    /// Of a gauge: last minus first, stretched to the window.
    Delta,
}

/// What an expression gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// A number.
    Scalar(f64),
    /// A value for each set of labels.
    Vector(Vec<(Labels, f64)>),
}

impl Expr {
    /// Reads an expression.
    ///
    /// # Errors
    /// What could not be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut input = Input { rest: text.trim() };
        let expr = input.comparison()?;
        if input.rest.is_empty() { Ok(expr) } else { Err(format!("not understood: {:?}", input.rest)) }
    }

    /// Its value at a time, in seconds.
    pub fn at(&self, scrapes: &Scrapes, at: f64) -> Values {
        match self {
            Self::Number(number) => Values::Scalar(*number),
            Self::Instant(Selector { name, labels }) => Values::Vector(scrapes.instant(name, labels, at)),
            Self::Window(function, Selector { name, labels }, window) => {
                let series = scrapes.range(name, labels, (at - window, at)).into_iter();
                let values = series.filter_map(|(labels, samples)| {
                    Some((labels, over_window(*function, &samples, (at - window, at))?))
                });
                Values::Vector(values.collect())
            }
            Self::Binary(sign, left, right) => binary(*sign, left.at(scrapes, at), right.at(scrapes, at)),
        }
    }

    /// The names of all series that it looks at.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Instant(selector) | Self::Window(_, selector, _) => vec![&selector.name],
            Self::Binary(_, left, right) => [left.names(), right.names()].concat(),
        }
    }

    /// The same with every number `from` replaced: a threshold scaled to what a test can do.
    ///
    /// # Panics
    /// If there is no such number.
    #[must_use]
    pub fn scaled(&self, from: f64, to: f64) -> Self {
        fn scale(expr: &Expr, from: f64, to: f64, found: &mut bool) -> Expr {
            match expr {
                Expr::Number(number) if number.to_bits() == from.to_bits() => {
                    *found = true;
                    Expr::Number(to)
                }
                Expr::Binary(sign, left, right) => {
                    let [left, right] = [left, right].map(|side| Box::new(scale(side, from, to, found)));
                    Expr::Binary(*sign, left, right)
                }
                Expr::Number(_) | Expr::Instant(_) | Expr::Window(..) => expr.clone(),
            }
        }
        let mut found = false;
        let scaled = scale(self, from, to, &mut found);
        assert!(found, "no {from} in {self:?}");
        scaled
    }
}

/// Prometheus' rule: first to last, resets of counters added, stretched to the ends of the window if the samples come
/// near them, and for counters not to below zero.
fn over_window(function: Function, samples: &[Sample], (from, to): (f64, f64)) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let sampled = last.at - first.at;
    if samples.len() < 2 || sampled <= 0.0 {
        return None;
    }
    let is_counter = function != Function::Delta;
    let mut change = last.value - first.value;
    if is_counter {
        let pairs = samples.windows(2);
        change += pairs.filter(|pair| pair[1].value < pair[0].value).map(|pair| pair[0].value).sum::<f64>();
    }
    let between = sampled / f64::from(u32::try_from(samples.len() - 1).ok()?);
    let near = |distance: f64| if distance >= between * 1.1 { between / 2.0 } else { distance };
    let (mut before, after) = (near(first.at - from), near(to - last.at));
    if is_counter && change > 0.0 && first.value >= 0.0 {
        before = before.min(sampled * (first.value / change));
    }
    let stretched = change * (sampled + before + after) / sampled;
    Some(match function {
        Function::Rate => stretched / (to - from),
        Function::Increase | Function::Delta => stretched,
    })
}

fn binary(sign: char, left: Values, right: Values) -> Values {
    let compares = matches!(sign, '<' | '>');
    let apply = |left: f64, right: f64| match sign {
        '+' => Some(left + right),
        '-' => Some(left - right),
        '*' => Some(left * right),
        '/' => Some(left / right),
        '>' => (left > right).then_some(left),
        '<' => (left < right).then_some(left),
        other => unreachable!("no sign {other} is read"),
    };
    match (left, right) {
        (Values::Scalar(left), Values::Scalar(right)) => {
            assert!(!compares, "two numbers are not compared in a rule");
            Values::Scalar(apply(left, right).unwrap_or(f64::NAN))
        }
        (Values::Vector(left), Values::Scalar(right)) => {
            let values = left.into_iter().filter_map(|(labels, value)| Some((labels, apply(value, right)?)));
            Values::Vector(values.collect())
        }
        (Values::Scalar(left), Values::Vector(right)) => {
            let values = right.into_iter().filter_map(|(labels, value)| Some((labels, apply(left, value)?)));
            Values::Vector(values.collect())
        }
        (Values::Vector(left), Values::Vector(right)) => {
            let values = left.into_iter().filter_map(|(labels, value)| {
                let (_, other) = right.iter().find(|(other, _)| *other == labels)?;
                Some((labels, apply(value, *other)?))
            });
            Values::Vector(values.collect())
        }
    }
}

/// What is left to read.
struct Input<'a> {
    rest: &'a str,
}

impl<'a> Input<'a> {
    fn takes(&mut self, signs: &[char]) -> Option<char> {
        let sign = self.rest.chars().next().filter(|sign| signs.contains(sign))?;
        self.rest = self.rest[1..].trim_start();
        Some(sign)
    }

    fn wants(&mut self, sign: char) -> Result<(), String> {
        self.takes(&[sign]).map(|_| ()).ok_or_else(|| format!("{sign:?} is missing before {:?}", self.rest))
    }

    fn until(&mut self, end: impl Fn(char) -> bool) -> &'a str {
        let at = self.rest.find(end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(at);
        self.rest = rest.trim_start();
        word
    }

    fn comparison(&mut self) -> Result<Expr, String> {
        let left = self.sum()?;
        match self.takes(&['<', '>']) {
            Some(sign) => Ok(Expr::Binary(sign, Box::new(left), Box::new(self.sum()?))),
            None => Ok(left),
        }
    }

    fn sum(&mut self) -> Result<Expr, String> {
        let mut left = self.product()?;
        while let Some(sign) = self.takes(&['+', '-']) {
            left = Expr::Binary(sign, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Expr, String> {
        let mut left = self.single()?;
        while let Some(sign) = self.takes(&['*', '/']) {
            left = Expr::Binary(sign, Box::new(left), Box::new(self.single()?));
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Expr, String> {
        if self.takes(&['(']).is_some() {
            let inner = self.sum()?;
            self.wants(')')?;
            return Ok(inner);
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let number = self.until(|c| !c.is_ascii_digit() && c != '.');
            return number.parse().map(Expr::Number).map_err(|error| format!("{number:?}: {error}"));
        }
        let word = self.until(|c| !c.is_ascii_alphanumeric() && c != '_');
        let function = match word {
            "rate" => Function::Rate,
            "increase" => Function::Increase,
            "delta" => Function::Delta,
            "" => return Err(format!("a name is missing before {:?}", self.rest)),
            name => return self.selector(name).map(Expr::Instant),
        };
        self.wants('(')?;
        let name = self.until(|c| !c.is_ascii_alphanumeric() && c != '_');
        let selector = self.selector(name)?;
        self.wants('[')?;
        let window = seconds(self.until(|c| c == ']'))?;
        self.wants(']')?;
        self.wants(')')?;
        Ok(Expr::Window(function, selector, window))
    }

    fn selector(&mut self, name: &str) -> Result<Selector, String> {
        let mut labels = Labels::new();
        if self.takes(&['{']).is_some() {
            labels = labels_of(self.until(|c| c == '}'));
            self.wants('}')?;
        }
        if self.rest.starts_with('(') {
            return Err(format!("no function {name:?} is known here"));
        }
        Ok(Selector { name: name.to_owned(), labels })
    }
}

/// A length of time such as `5m`, in seconds.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let unit = match text.chars().last() {
        Some('s') => 1.0,
        Some('m') => 60.0,
        Some('h') => 3_600.0,
        Some(_) | None => return Err(format!("{text:?} is no length of time")),
    };
    let number: f64 = text[..text.len() - 1].parse().map_err(|_| format!("{text:?} is no length of time"))?;
    Ok(number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter scraped every 15 seconds.
    fn scraped(name: &str, values: &[f64]) -> Scrapes {
        let mut scrapes = Scrapes::default();
        for (n, value) in values.iter().enumerate() {
            scrapes.add(15.0 * f64::from(u32::try_from(n).expect("few")), &format!("{name} {value}\n"));
        }
        scrapes
    }

    fn value(expr: &str, scrapes: &Scrapes, at: f64) -> Option<f64> {
        match Expr::parse(expr).expect(expr).at(scrapes, at) {
            Values::Scalar(value) => Some(value),
            Values::Vector(values) => values.first().map(|(_, value)| *value),
        }
    }

    #[test]
    fn a_rate_is_stretched_to_the_window_and_counts_over_resets() {
        // 10 in each 15 s; the window of 60 s holds the samples of 15 to 60 s: three steps, stretched by one.
        let steady = scraped("c", &[0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(value("increase(c[1m])", &steady, 60.0), Some(40.0));
        assert_eq!(value("rate(c[1m])", &steady, 60.0), Some(40.0 / 60.0));
        let reset = scraped("c", &[100.0, 110.0, 120.0, 5.0, 15.0]);
        assert_eq!(value("increase(c[1m])", &reset, 60.0), Some((15.0 - 110.0 + 120.0) * 60.0 / 45.0));
        assert_eq!(value("delta(c[1m])", &reset, 60.0), Some((15.0 - 110.0) * 60.0 / 45.0));
        // Few samples: stretched by half a step only, and a counter not below zero.
        let young = scraped("c", &[0.0, 30.0]);
        assert_eq!(value("increase(c[5m])", &young, 15.0), Some(30.0));
        let gauge = scraped("c", &[10.0, 40.0]);
        assert_eq!(value("delta(c[5m])", &gauge, 15.0), Some(45.0));
        assert_eq!(value("rate(c[5m])", &scraped("c", &[1.0]), 15.0), None, "one sample is no rate");
    }

    #[test]
    fn signs_bind_as_in_arithmetic_and_a_comparison_keeps_what_holds() {
        let scrapes = scraped("c", &[6.0]);
        assert_eq!(value("1 + 2 * 3 - 8 / 4", &scrapes, 0.0), Some(5.0));
        assert_eq!(value("(1 + 2) * 3", &scrapes, 0.0), Some(9.0));
        assert_eq!([value("c > 5", &scrapes, 0.0), value("c > 6", &scrapes, 0.0)], [Some(6.0), None]);
        assert_eq!(value("c / (c + c) < 0.6", &scrapes, 0.0), Some(0.5));
        assert_eq!(value("c - c / c > 4.5", &scrapes, 0.0), Some(5.0));
        assert_eq!(value("c", &scrapes, 301.0), None, "too old");
        let nothing = scraped("z", &[0.0]);
        assert_eq!(value("z / (z + z) > 0.1", &nothing, 0.0), None, "nothing of nothing is no failure");
    }

    #[test]
    fn labels_choose_and_match() {
        let mut scrapes = Scrapes::default();
        scrapes.add(0.0, "p{bound=\"a\",kind=\"memory\"} 0.9\np{bound=\"b\",kind=\"ring\"} 1\n# EOF\n");
        let Values::Vector(high) =
            Expr::parse("p{kind=\"memory\"} > 0.8").expect("is read").at(&scrapes, 0.0)
        else {
            panic!("a vector")
        };
        assert_eq!(high.len(), 1);
        assert_eq!(high[0].0["bound"], "a");
    }

    #[test]
    fn what_is_not_of_the_language_is_refused() {
        for text in
            ["", "c >", "avg(c)", "rate(c)", "rate(c[5x])", "rate(c[5m]", "c and c", "c == 1", "c > 1 > 2"]
        {
            assert!(Expr::parse(text).is_err(), "{text}");
        }
    }
}
