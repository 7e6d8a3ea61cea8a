//! What imported files mean, told from files that scikit-learn made.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Artifact, Format};
use crate::artifact::Task;
use crate::error::ModelError;

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/sklearn");
    folder.join(name).join("model.onnx")
}

fn read(bytes: &[u8]) -> Result<Artifact, ModelError> {
    Artifact::read(Format::Onnx, bytes, Instant::now() + Duration::from_secs(60))
}

#[test]
fn classifiers_and_regressors_are_known() {
    let check = |name: &str, classes: &[&str], regresses: bool| {
        let artifact = read(&std::fs::read(golden(name)).unwrap()).unwrap();
        assert!(artifact.signature.batchable, "{name}");
        match &artifact.signature.task {
            Task::Classify { classes: found, label, .. } => {
                assert_eq!(found, classes, "{name}");
                assert!(label.is_some(), "{name}");
            }
            task => {
                let expected = if regresses { Task::Regress } else { Task::Tensors };
                assert_eq!((task, classes.is_empty()), (&expected, true), "{name}");
            }
        }
        // What was learned of it stays with it in a file of our own.
        let again = Artifact::parse(&artifact.to_bytes().unwrap()).unwrap();
        assert_eq!(again.signature, artifact.signature, "{name}");
        assert_eq!(again.summary(), artifact.summary(), "{name}");
        assert!(artifact.summary().parameters > 0, "{name}");
    };
    check("forest", &["0", "1"], false);
    check("forest_names", &["setosa", "versicolor", "virginica"], false);
    check("boosting_three", &["0", "1", "2"], false);
    check("scaled_logistic", &["0", "1"], false);
    check("svc_poly", &["setosa", "versicolor", "virginica"], false);
    check("forest_regressor", &[], true);
    check("linear_regression", &[], true);
}

#[test]
fn what_cannot_be_read_says_why() {
    let whole = std::fs::read(golden("forest")).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        assert!(read(&whole[..length]).is_err(), "{length} bytes");
    }
    let late = Artifact::read(Format::Onnx, &whole, Instant::now() - Duration::from_secs(1));
    assert!(matches!(late, Err(ModelError::Run { .. })), "{late:?}");
}
