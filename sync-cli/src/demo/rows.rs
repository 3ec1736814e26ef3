//! Reads invoice lines for the nodes. A line that cannot be used is skipped and named, never fatal.
//!
//! In goes CSV text with the eight columns of the UCI *Online Retail* data set, out come [`Row`]s in the
//! file's order and [`Skipped`] lines. The checker reads the same text with a parser of its own
//! ([`super::ledger`]), so a mistake here does not hide itself.

use std::fmt;

use crate::failure::Failure;

/// The columns, in order. The header must name exactly these.
const COLUMNS: [&str; 8] = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
];

/// Longest field that becomes part of a key or a value, in bytes. A line with a longer one is skipped.
/// The longest in the bundled file is 16.
const FIELD_BYTES_MAX: usize = 64;

/// One invoice line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The line of the file on which it begins, counted from 1.
    pub(crate) line: u64,
    pub(crate) invoice: String,
    pub(crate) product: String,
    /// Sold if positive, given back or written off if negative.
    pub(crate) quantity: i32,
    pub(crate) date: String,
    /// `None` for a sale to nobody in particular.
    pub(crate) customer: Option<String>,
    pub(crate) country: String,
}

impl Row {
    /// True for a line that takes back an earlier one.
    pub(crate) fn is_cancellation(&self) -> bool {
        self.invoice.starts_with('C')
    }
}

/// A line that was not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// The line of the file on which it begins, counted from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; skipped", self.line, self.reason)
    }
}

/// What a file held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// The lines to feed, in order.
    pub(crate) used: Vec<Row>,
    /// The lines left out, in order.
    pub(crate) skipped: Vec<Skipped>,
}

/// Reads `text`. Fails only if it has no header, or another one.
pub(crate) fn read(text: &[u8]) -> Result<Rows, Failure> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    let mut records = reader.byte_records();
    let header = match records.next() {
        Some(Ok(header)) => header,
        Some(Err(_)) | None => csv::ByteRecord::new(),
    };
    if !header.iter().eq(COLUMNS.iter().map(|name| name.as_bytes())) {
        return Err(Failure::Failed(format!(
            "line 1 of the data is not the header {}; give a file with these columns",
            COLUMNS.join(",")
        )));
    }
    let mut rows = Rows::default();
    let mut lines = Lines { text, at: 0, line: 1 };
    for record in records {
        let record = record.map_err(|error| Failure::Failed(format!("cannot read the data: {error}")))?;
        let line = lines.line_at(record.position().map_or(0, csv::Position::byte));
        match row(line, &record) {
            Ok(row) => rows.used.push(row),
            Err(reason) => rows.skipped.push(Skipped { line, reason }),
        }
    }
    Ok(rows)
}

/// Counts lines along the text. The library's own count stands before the blank lines, and before the
/// second half of a CR LF, that precede a record.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the first byte from `offset` on that is no line end. Offsets must ascend.
    fn line_at(&mut self, offset: u64) -> u64 {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        while let Some(byte) = self.text.get(self.at) {
            if self.at >= offset && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.line += u64::from(*byte == b'\n');
            self.at += 1;
        }
        self.line
    }
}

fn row(line: u64, record: &csv::ByteRecord) -> Result<Row, String> {
    let record = csv::StringRecord::from_byte_record(record.clone()).map_err(|error| {
        format!("{} is not UTF-8", COLUMNS[error.utf8_error().field().min(COLUMNS.len() - 1)])
    })?;
    if record.len() != COLUMNS.len() {
        return Err(format!("{} fields instead of {}", record.len(), COLUMNS.len()));
    }
    let field = |at: usize| {
        let text = &record[at];
        if text.len() > FIELD_BYTES_MAX {
            return Err(format!(
                "{} of {} bytes, at most {FIELD_BYTES_MAX} are used",
                COLUMNS[at],
                text.len()
            ));
        }
        Ok(text.to_owned())
    };
    let required = |at: usize| {
        field(at).and_then(|text| match text.is_empty() {
            true => Err(format!("{} is empty", COLUMNS[at])),
            false => Ok(text),
        })
    };
    let invoice = required(0)?;
    let product = required(1)?;
    let quantity = required(3)?;
    let quantity =
        quantity.parse().map_err(|_| format!("Quantity {quantity:?} is not a whole number of 32 bits"))?;
    let customer = Some(field(6)?).filter(|id| !id.is_empty());
    Ok(Row { line, invoice, product, quantity, date: field(4)?, customer, country: field(7)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

    fn skipped(lines: &str) -> Vec<String> {
        let rows = read(format!("{HEADER}{lines}").as_bytes()).expect("the header is right");
        rows.skipped.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_bad_line_is_named_and_the_next_one_is_read() {
        let good = "536365,85123A,HOLDER,6,12-01-2010 08:26,2.55,17850,United Kingdom\n";
        for (bad, said) in [
            ("536365,85123A,HOLDER,N/A,12-01-2010 08:26,2.55,17850,United Kingdom\n", "Quantity \"N/A\""),
            ("536365,85123A,HOLDER,,12-01-2010 08:26,2.55,17850,United Kingdom\n", "Quantity is empty"),
            ("536365,85123A,HOLDER,1.5,12-01-2010 08:26,2.55,17850,United Kingdom\n", "Quantity \"1.5\""),
            ("536365,85123A,HOLDER,99999999999,12-01-2010 08:26,2.55,17850,United Kingdom\n", "32 bits"),
            (",85123A,HOLDER,6,12-01-2010 08:26,2.55,17850,United Kingdom\n", "InvoiceNo is empty"),
            ("536365,,HOLDER,6,12-01-2010 08:26,2.55,17850,United Kingdom\n", "StockCode is empty"),
            ("536365,85123A,HOLDER,6\n", "4 fields instead of 8"),
            (
                "536365,85123A,HOLDER,6,12-01-2010 08:26,2.55,17850,United Kingdom,more\n",
                "9 fields instead of 8",
            ),
        ] {
            let rows = read(format!("{HEADER}{good}{bad}{good}").as_bytes()).expect("the header is right");
            assert_eq!(rows.used.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4]);
            let [skipped] = rows.skipped.as_slice() else { panic!("{bad}: {:?}", rows.skipped) };
            let text = skipped.to_string();
            assert!(text.starts_with("line 3: ") && text.contains(said), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_and_fields_without_end_are_bad_lines() {
        let mut text = HEADER.as_bytes().to_vec();
        text.extend_from_slice(b"536365,85\xff123A,HOLDER,6,12-01-2010 08:26,2.55,17850,United Kingdom\n");
        let rows = read(&text).expect("the header is right");
        assert_eq!(rows.skipped[0].to_string(), "line 2: StockCode is not UTF-8; skipped");
        let long = "9".repeat(FIELD_BYTES_MAX + 1);
        assert!(skipped(&format!("536365,{long},X,6,D,1,1,UK\n"))[0].contains("StockCode of 65 bytes"));
    }

    #[test]
    fn another_header_is_refused_with_the_right_one() {
        for text in ["", "a,b,c\n1,2,3\n"] {
            let failure = read(text.as_bytes()).expect_err("this is no header of ours");
            assert!(failure.to_string().contains("InvoiceNo,StockCode"), "{failure}");
        }
    }

    #[test]
    fn quotes_commas_and_line_ends_inside_a_field_are_text() {
        let rows = read(format!("{HEADER}1,A,\"X, \"\"Y\"\"\nZ\",2,D,1,,UK\nC2,B,,-3,D,1,9,UK\n").as_bytes())
            .expect("the header is right");
        assert_eq!(rows.skipped, []);
        assert_eq!((rows.used[0].quantity, rows.used[0].customer.as_deref()), (2, None));
        assert_eq!((rows.used[1].line, rows.used[1].quantity), (4, -3));
        assert!(rows.used[1].is_cancellation() && !rows.used[0].is_cancellation());
    }
}
