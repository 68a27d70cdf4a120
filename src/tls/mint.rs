//! Minting of development certificates (`wharf cert`, the self-signed default).
