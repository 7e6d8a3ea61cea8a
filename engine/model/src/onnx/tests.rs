//! The importer on small files.
