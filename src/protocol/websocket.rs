//! WebSocket frames (RFC 6455), pure.
