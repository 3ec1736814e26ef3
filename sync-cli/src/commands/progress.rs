//! A large answer that comes in: a bar for people, a line each quarter for a log.

use indicatif::{ProgressBar, ProgressStyle};
use sync_net::Bootstrap;

/// The bar, and how many quarters the log knows of.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    quarters: u64,
}

impl Progress {
    /// Shows how it stands; `None` ends it.
    pub(super) fn shows(&mut self, bootstrap: Option<Bootstrap>) {
        let Some(Bootstrap { peer, items, items_total }) = bootstrap else {
            if let Some(bar) = self.bar.take() {
                bar.finish_and_clear();
                tracing::info!("no large answer is on its way any more");
            }
            self.quarters = 0;
            return;
        };
        let bar = self.bar.get_or_insert_with(|| {
            let form = "state comes in  {bar:32} {human_pos} of {human_len} items  {eta} left";
            let style = ProgressStyle::with_template(form).expect("the template is a constant");
            ProgressBar::new(items_total).with_style(style)
        });
        bar.set_length(items_total);
        bar.set_position(items);
        let quarters = 1 + 4 * items / items_total.max(1);
        if quarters > self.quarters {
            self.quarters = quarters;
            bar.suspend(|| tracing::info!(peer, items, items_total, "state comes in"));
        }
    }
}
