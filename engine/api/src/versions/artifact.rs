//! Owns an artifact on its way from the body to the registry: chunk by chunk, limited, its format
//! told from its first bytes.
//!
//! Refuses to hold more than its beginning and the chunk that is passed on. Bound: [`HEAD_BYTES`]
//! and one chunk; [`MODEL_FILE_BYTES_MAX`] in all.

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use truststram_base::Kind;
use truststram_base::limits::MODEL_FILE_BYTES_MAX;

use crate::ports::{ArtifactChunks, ArtifactFormat, ModelFailure};

/// How many bytes tell a format: the first block of a tar file.
const HEAD_BYTES: usize = 512;

type Chunk = Result<Bytes, ModelFailure>;

/// The beginning of an artifact, and the rest of it.
pub(super) struct Artifact {
    head: Bytes,
    rest: BoxStream<'static, Chunk>,
}

impl Artifact {
    /// Reads the beginning of `body`.
    pub(super) async fn open(body: Body) -> Result<Self, ModelFailure> {
        let mut rest = limited(body.into_data_stream()).fuse().boxed();
        let mut head = BytesMut::new();
        while head.len() < HEAD_BYTES {
            match rest.next().await {
                Some(chunk) => head.extend_from_slice(&chunk?),
                None => break,
            }
        }
        Ok(Self { head: head.freeze(), rest })
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// The format that the first bytes are of, if it is one that is taken.
    pub(super) fn format(&self) -> Option<ArtifactFormat> {
        let head = &self.head[..];
        // The magic of a tar header stands at 257 (POSIX ustar and GNU alike).
        if head.get(257..262) == Some(b"ustar") {
            return Some(ArtifactFormat::FolderTar);
        }
        // A safetensors file begins with the length of its JSON header in eight bytes.
        let length = head.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
        if length.is_some_and(|length| length < MODEL_FILE_BYTES_MAX) && head.get(8) == Some(&b'{')
        {
            return Some(ArtifactFormat::Safetensors);
        }
        // An ONNX file is a protobuf message whose first field is mostly `ir_version`, number 1, a
        // small varint.
        match head {
            [0x08, version, ..] if (1..64).contains(version) => Some(ArtifactFormat::Onnx),
            _ => None,
        }
    }

    /// All of it, from the first byte on.
    pub(super) fn chunks(self) -> ArtifactChunks {
        let head = stream::iter((!self.head.is_empty()).then_some(Ok(self.head)));
        head.chain(self.rest).boxed()
    }
}

/// The chunks of a body up to the limit; the first failure is the last item.
fn limited(body: BodyDataStream) -> impl futures_util::Stream<Item = Chunk> + Send {
    stream::unfold((body, 0_u64, false), |(mut body, read, ended)| async move {
        if ended {
            return None;
        }
        let chunk = match body.next().await? {
            Ok(chunk) => chunk,
            Err(error) => {
                let detail = format!("the body ended early: {error}");
                let failure = ModelFailure { kind: Kind::Malformed, detail };
                return Some((Err(failure), (body, read, true)));
            }
        };
        let read = read.saturating_add(chunk.len() as u64);
        if read > MODEL_FILE_BYTES_MAX {
            return Some((Err(too_large()), (body, read, true)));
        }
        Some((Ok(chunk), (body, read, false)))
    })
}

/// The failure of an artifact beyond the limit.
pub(super) fn too_large() -> ModelFailure {
    let detail = format!("the artifact is larger than the limit of {MODEL_FILE_BYTES_MAX} bytes");
    ModelFailure { kind: Kind::TooLarge, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An artifact of these chunks.
    fn open(chunks: Vec<Result<Vec<u8>, std::io::Error>>) -> (Artifact, tokio::runtime::Runtime) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = Body::from_stream(stream::iter(chunks));
        let artifact = runtime.block_on(Artifact::open(body));
        (artifact.unwrap(), runtime)
    }

    #[test]
    fn formats_are_told_from_the_first_bytes() {
        let check = |bytes: &[u8], expected: Option<ArtifactFormat>| {
            let chunks = bytes.chunks(7).map(|chunk| Ok(chunk.to_vec())).collect();
            assert_eq!(open(chunks).0.format(), expected);
        };
        let mut tar = vec![0; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        check(&tar, Some(ArtifactFormat::FolderTar));
        check(b"\x10\0\0\0\0\0\0\0{\"a\":1}", Some(ArtifactFormat::Safetensors));
        check(b"\x08\x0a\x12\x07pytorch", Some(ArtifactFormat::Onnx));
        check(b"PK\x03\x04", None);
        check(b"", None);
    }

    #[test]
    fn what_goes_in_comes_out_and_a_failure_ends_it() {
        let chunks = vec![Ok(vec![1; 600]), Ok(vec![2; 5]), Err(std::io::Error::other("gone"))];
        let (artifact, runtime) = open(chunks);
        let found: Vec<Chunk> = runtime.block_on(artifact.chunks().collect());
        let lengths: Vec<Option<usize>> =
            found.iter().map(|chunk| chunk.as_ref().ok().map(Bytes::len)).collect();
        assert_eq!(lengths, [Some(600), Some(5), None]);
    }
}
