//! Errors: what stops the node or a command, and the one mapping of problems to gRPC.

use std::path::PathBuf;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use ward_schemas::problem::{ERROR_CODE_TRAILER, GrpcCode, Problem};
use ward_transport::TlsError;

use crate::approvals::ApprovalError;
use crate::audit::{AuditFault, HeadSyntax};
use crate::config::ConfigError;
use crate::init::InitError;
use crate::store::{HeadFileError, StoreError};
use crate::vocabulary::VocabularyError;

/// Why the node can't start, or a steward's command can't be done.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory can't be made.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The durable state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file with the newest audit head.
    #[error(transparent)]
    HeadFile(#[from] HeadFileError),
    /// The snapshots.
    #[error(transparent)]
    Data(#[from] ward_data::StoreError),
    /// The import.
    #[error(transparent)]
    Import(#[from] ward_data::ImportError),
    /// Certificates and keys of TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The vocabulary package.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// A decision on a template.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The audit log is not whole.
    #[error("the audit log does not verify: {0}")]
    Audit(#[from] AuditFault),
    /// A head is not one.
    #[error(transparent)]
    Head(#[from] HeadSyntax),
    /// A refusal.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// A secret can't be used.
    #[error(
        "the key {} can't be used: {reason}; restore it from a backup, or make a new node with `ward-node init`",
        file.display()
    )]
    Key {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file or directory can't be used.
    #[error("{} can't be read or written: {source}; check its path and owner", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The service can't listen.
    #[error("can't listen on {address}: {source}; correct `listen` in the configuration")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The service stopped.
    #[error("the service stopped: {0}")]
    Serve(String),
}

/// The gRPC status of a problem: the message for people, the problem as JSON in the details, and
/// the code in a trailer.
pub fn to_status(problem: &Problem) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(
        ERROR_CODE_TRAILER,
        MetadataValue::from_static(problem.code.as_str()),
    );
    let details = serde_json::to_vec(problem).unwrap_or_default();
    Status::with_details_and_metadata(
        grpc_code(problem.code.grpc()),
        problem.to_string(),
        details.into(),
        metadata,
    )
}

fn grpc_code(code: GrpcCode) -> Code {
    match code {
        GrpcCode::InvalidArgument => Code::InvalidArgument,
        GrpcCode::DeadlineExceeded => Code::DeadlineExceeded,
        GrpcCode::NotFound => Code::NotFound,
        GrpcCode::PermissionDenied => Code::PermissionDenied,
        GrpcCode::FailedPrecondition => Code::FailedPrecondition,
        GrpcCode::Internal => Code::Internal,
        GrpcCode::Unavailable => Code::Unavailable,
        GrpcCode::Unauthenticated => Code::Unauthenticated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ward_schemas::problem::ErrorCode;

    #[test]
    fn every_code_travels_whole() {
        for code in ErrorCode::ALL {
            let problem = Problem::new(*code, "it is so", "Do otherwise.");
            let status = to_status(&problem);
            assert_eq!(status.code() as i32, code.grpc() as i32);
            assert_eq!(status.message(), "it is so. Do otherwise.");
            let trailer = status.metadata().get(ERROR_CODE_TRAILER);
            let trailer = trailer.and_then(|v| v.to_str().ok());
            assert_eq!(trailer, Some(code.as_str()));
            let details: Problem = serde_json::from_slice(status.details()).expect("a problem");
            assert_eq!(details, problem);
        }
    }
}
