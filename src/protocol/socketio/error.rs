//! Why a connection's messages are refused.

/// Everything for which a client's connection is closed with "parse error".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("unknown packet type")]
    UnknownType,
    #[error("no number of attachments where one has to be")]
    AttachmentCount,
    #[error("more attachments than one packet may have")]
    TooManyAttachments,
    #[error("a namespace that is too long, or holds control characters")]
    Namespace,
    #[error("no number of an acknowledgement where one has to be, or one too large")]
    AckId,
    #[error("not JSON, or nested too deep")]
    Json,
    #[error("a payload that its packet cannot have")]
    Payload,
    #[error("an event under a reserved name")]
    ReservedEvent,
    #[error("a placeholder for no attachment")]
    Placeholder,
    #[error("text while attachments are due")]
    AttachmentsDue,
    #[error("binary while no attachment is due")]
    UnexpectedBinary,
    #[error("attachments larger than one packet may have")]
    TooLarge,
}
