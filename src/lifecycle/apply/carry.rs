//! Attachments, links and what is taken away, many at a time.

use super::{ApplyError, Run};
use crate::lifecycle::batch::{self, BatchOptions, Ended, Line, Work};

impl Run<'_> {
    /// Does all of it; one that fails keeps none of the others from being done, but a signal that asks to stop does. `tell` hears
    /// of each as it ends, by its place in the list.
    pub(super) fn carry_out(&mut self, works: Vec<Work>, tell: &mut dyn FnMut(&mut Self, usize, &Ended)) -> Result<(), ApplyError> {
        if works.is_empty() {
            return Ok(());
        }
        let lines: Vec<Line> = works.into_iter().enumerate().map(|(number, work)| Line { number, work }).collect();
        let options = BatchOptions { run_dir: self.options.run_dir.clone(), ..BatchOptions::default() };
        let report = batch::run(&lines, &options, &mut |line, ended| tell(self, line.number, ended))?;
        self.warnings.extend(report.warnings);
        self.stopped = self.stopped.or(report.interrupted);
        Ok(())
    }
}
