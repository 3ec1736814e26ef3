//! The checker's own reading of the data: what the shop's books must say, row after row.
//!
//! This file shares nothing with the code that feeds the nodes, the CSV parser included
//! ([`super::rows`] uses a library, here is RFC 4180 by hand). In goes the same text, out comes a
//! [`Ledger`]: one entry a usable line, the lines that are not usable, and the stock that remains.

use std::collections::BTreeMap;

/// What the data says, read in order on one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Every usable line.
    pub(crate) entries: Vec<Entry>,
    /// The first line of every record that is not usable.
    pub(crate) skipped: Vec<u64>,
    /// What each product's stock must be in the end, counted from 0: minus the sum of its quantities.
    pub(crate) stock: BTreeMap<String, i128>,
}

/// One usable line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it begins, counted from 1.
    pub(crate) line: u64,
    /// The product it sells or takes back.
    pub(crate) product: String,
    /// The customer, if one is named.
    pub(crate) customer: Option<String>,
    /// True if it takes a line back.
    pub(crate) cancels: bool,
    /// What it does to the stock.
    pub(crate) stock_change: i64,
    /// The fields that it writes to the customer's profile.
    pub(crate) profile: BTreeMap<&'static str, String>,
}

impl Ledger {
    /// Reads `text`, whose first record is the header.
    pub(crate) fn read(text: &[u8]) -> Self {
        let mut ledger = Self::default();
        for (line, fields) in records(text).into_iter().skip(1) {
            match entry(line, &fields) {
                Some(entry) => ledger.book(entry),
                None => ledger.skipped.push(line),
            }
        }
        ledger
    }

    fn book(&mut self, entry: Entry) {
        *self.stock.entry(entry.product.clone()).or_default() += i128::from(entry.stock_change);
        self.entries.push(entry);
    }
}

/// A usable line: eight fields of UTF-8, invoice and product named, a whole number sold, nothing longer
/// than 64 bytes where a key or a value is made of it.
fn entry(line: u64, fields: &[Vec<u8>]) -> Option<Entry> {
    let text: Vec<&str> =
        fields.iter().map(|field| std::str::from_utf8(field).ok()).collect::<Option<_>>()?;
    let &[invoice, product, _, quantity, date, _, customer, country] = text.as_slice() else { return None };
    let fits = [invoice, product, quantity, date, customer, country].iter().all(|field| field.len() <= 64);
    if !fits || invoice.is_empty() || product.is_empty() {
        return None;
    }
    let sold: i32 = quantity.parse().ok()?;
    let cancels = invoice.as_bytes().first() == Some(&b'C');
    let profile = match customer.is_empty() || cancels {
        true => BTreeMap::new(),
        false => [("country", country), ("last_invoice", invoice), ("last_seen", date)]
            .map(|(field, value)| (field, value.to_owned()))
            .into(),
    };
    Some(Entry {
        line,
        product: product.to_owned(),
        customer: (!customer.is_empty()).then(|| customer.to_owned()),
        cancels,
        stock_change: -i64::from(sold),
        profile,
    })
}

/// Splits CSV text into records with the line on which each begins. Blank lines are no records.
fn records(text: &[u8]) -> Vec<(u64, Vec<Vec<u8>>)> {
    let mut records = Vec::new();
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let mut field = Vec::new();
    let (mut line, mut begins) = (1_u64, 1_u64);
    let (mut quoted, mut touched) = (false, false);
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let at_start = field.is_empty() && !touched;
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                bytes.next();
                field.push(b'"');
            }
            b'"' if quoted => quoted = false,
            b'"' if at_start => (quoted, touched) = (true, true),
            b',' if !quoted => {
                fields.push(std::mem::take(&mut field));
                touched = false;
            }
            b'\r' | b'\n' if !quoted => {
                if !(fields.is_empty() && at_start) {
                    fields.push(std::mem::take(&mut field));
                    records.push((begins, std::mem::take(&mut fields)));
                }
                touched = false;
            }
            other => field.push(other),
        }
        if byte == b'\n' {
            line += 1;
        }
        if fields.is_empty() && field.is_empty() && !touched {
            begins = line;
        }
    }
    if !(fields.is_empty() && field.is_empty() && !touched) {
        fields.push(field);
        records.push((begins, fields));
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{BUNDLED, rows};

    fn agree(text: &[u8]) {
        let (rows, ledger) = (rows::read(text).expect("the header is right"), Ledger::read(text));
        let fed: Vec<_> = rows
            .used
            .iter()
            .map(|row| (row.line, row.product.clone(), row.customer.clone(), row.is_cancellation()))
            .collect();
        let booked: Vec<_> = ledger
            .entries
            .iter()
            .map(|entry| (entry.line, entry.product.clone(), entry.customer.clone(), entry.cancels))
            .collect();
        assert_eq!(fed, booked);
        assert_eq!(rows.skipped.iter().map(|skipped| skipped.line).collect::<Vec<_>>(), ledger.skipped);
    }

    #[test]
    fn both_parsers_read_the_bundled_file_alike() {
        agree(BUNDLED);
        let ledger = Ledger::read(BUNDLED);
        assert_eq!((ledger.entries.len(), ledger.skipped.len(), ledger.stock.len()), (10_000, 0, 2_015));
    }

    #[test]
    fn both_parsers_read_odd_files_alike() {
        let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";
        for lines in [
            "\n1,A,,2,D,1,9,UK\nC1,A,,-2,D,1,9,UK",
            "\r\n1,A,,2,D,1,9,UK\r\n\r\n\r\n1,B,,x,D,1,9,UK\r\n1,C,,1,D,1,,UK\r\n",
            "\n\n\n1,A,\"a\nb\",2,D,1,9,UK\n1,A,\"a\n\"\"b,\",N/A,D,1,9,UK\n1,A,q\"q,2,D,1,9,UK\n",
            "\n1,A,\"a\"b,2,D,1,9,UK\n1,\"\",x,2,D,1,9,UK\n\"\"\n1,A,\"never closed,2,D,1,9,UK\n",
            "\n1,A,x,2,D,1,9\n1,A,x,2,D,1,9,UK,\n,,,,,,,\n1,A,x,+2,D,1,9,UK\n1,A,x, 2,D,1,9,UK\n",
        ] {
            agree(format!("{header}{lines}").as_bytes());
        }
    }

    #[test]
    fn the_stock_is_minus_what_was_sold() {
        let text = b"h\n1,A,,2,D,1,9,UK\nC1,A,,-1,D,1,9,UK\n1,B,,0,D,1,,UK\n1,A,,N/A,D,1,9,UK\n";
        let ledger = Ledger::read(text);
        assert_eq!(ledger.stock, BTreeMap::from([("A".to_owned(), -1), ("B".to_owned(), 0)]));
        assert_eq!(ledger.skipped, [5]);
    }
}
