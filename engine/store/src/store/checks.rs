//! Owns the part of the store's face that checks what is stored.
//!
//! Refuses to know how it is done; see the module that each method calls. Bound: as `verify`.

use std::path::PathBuf;

use super::Store;
use crate::disagreement::Disagreement;
use crate::error::StoreError;
use crate::verify::{Finding, OnVerifyProgress, Problem, VerifyReport, verify_months};

impl Store {
    /// Checks all predictions and models: values against their checksums, indexes and figures
    /// against rows. Rows that are in the log only were checked when they were read.
    ///
    /// # Errors
    /// If something cannot be read for another reason than damage.
    pub fn verify(&self, on_progress: OnVerifyProgress<'_>) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        let mut months = Vec::new();
        for (month, file) in self.core.files.between(i64::MIN, i64::MAX) {
            match file.snapshot() {
                Ok(snapshot) => months.push((month, snapshot)),
                Err(error) => report.findings.push(Finding::of_error(error)?),
            }
        }
        let (findings, checked) = verify_months(months, on_progress)?;
        report.findings.extend(findings);
        report.checked = checked;
        self.verify_registered(&mut report)?;
        Ok(report)
    }

    /// Has redb compare the checksums of all pages of all files; nothing else may use the store
    /// meanwhile.
    pub(crate) fn check_integrity(&self) -> Result<Vec<Finding>, StoreError> {
        let files = self.core.files.between(i64::MIN, i64::MAX);
        let months = files.iter().map(|(_, file)| &file.file);
        let mut findings = Vec::new();
        for file in months.chain([&self.registry.file, &self.datasets.file, &self.decisions.file]) {
            match file.check_integrity() {
                Ok(true) => {}
                Ok(false) => findings.push(Finding {
                    path: file.path(),
                    table: "",
                    key: String::new(),
                    problem: Problem::Integrity,
                }),
                Err(error) => findings.push(Finding::of_error(error)?),
            }
        }
        Ok(findings)
    }

    /// Checks models and training data.
    fn verify_registered(&self, report: &mut VerifyReport) -> Result<(), StoreError> {
        let mut take = |path: &PathBuf, found: Result<Vec<Disagreement>, StoreError>| {
            match found {
                Ok(found) => report.findings.extend(
                    found.into_iter().map(|one| Finding::of_disagreement(path.clone(), one)),
                ),
                Err(error) => report.findings.push(Finding::of_error(error)?),
            }
            Ok::<(), StoreError>(())
        };
        take(&self.registry.file.path(), self.verify_models())?;
        let path = self.datasets.file.path();
        match self.datasets() {
            Ok(datasets) => {
                for dataset in datasets {
                    take(&path, self.verify_dataset(&dataset.name))?;
                }
            }
            Err(error) => take(&path, Err(error))?,
        }
        if let Err(error) = self.decisions.verify() {
            take(&self.decisions.file.path(), Err(error))?;
        }
        Ok(())
    }
}
