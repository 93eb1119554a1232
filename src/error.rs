//! The one error type of the crate.

use std::path::PathBuf;

/// What a fallible call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by kind.
///
/// Messages name the file, tensor, operation or input at fault, what was
/// expected and what was found.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // ---- model files ----
    /// A file of the model could not be opened, read or mapped.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A file that every model directory must hold is absent.
    #[error("{path}: not found; expected {expected}", path = path.display())]
    MissingFile {
        /// The file that was looked for.
        path: PathBuf,
        /// What the file would have held.
        expected: &'static str,
    },

    /// A JSON file does not parse, or has another structure than its kind of file must have.
    #[error("{path}: {reason}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's complaint, with line and column.
        reason: String,
    },

    /// A key of `config.json` is missing, of the wrong type, out of range or at odds with another.
    #[error("{path}: {key}: expected {expected}, found {found}", path = path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The key, as written in the file.
        key: &'static str,
        /// What would have been accepted.
        expected: String,
        /// What the file holds.
        found: String,
    },

    /// The configuration is valid but describes a model that this crate does not run
    /// (another architecture, scaled RoPE, sliding-window or bidirectional attention, biases,
    /// quantised weights).
    #[error("{path}: {key}: this model is not supported: expected {expected}, found {found}", path = path.display())]
    UnsupportedModel {
        /// The configuration file.
        path: PathBuf,
        /// The key that says so.
        key: &'static str,
        /// What is supported.
        expected: String,
        /// What the file holds.
        found: String,
    },

    // ---- checkpoint ----
    /// A safetensors file has no readable header.
    #[error("{path}: not a safetensors file: {reason}", path = path.display())]
    SafetensorsHeader {
        /// The shard.
        path: PathBuf,
        /// What is wrong with the header.
        reason: String,
    },

    /// A tensor that the configuration calls for is in no shard.
    #[error("{path}: tensor {tensor} is missing", path = path.display())]
    TensorMissing {
        /// The model directory.
        path: PathBuf,
        /// The tensor's key, without the prefix `model.`.
        tensor: String,
    },

    /// A tensor that the configuration does not call for.
    #[error("{path}: tensor {tensor} does not belong to a Qwen3 embedding model of this configuration", path = path.display())]
    TensorUnexpected {
        /// The shard.
        path: PathBuf,
        /// The key as written.
        tensor: String,
    },

    /// The same tensor is stored twice: in one header, in two shards, or with and without `model.`.
    #[error("{path}: tensor {tensor} occurs twice (also in {other})", path = path.display(), other = other.display())]
    TensorDuplicate {
        /// The shard with the second occurrence.
        path: PathBuf,
        /// The key as written.
        tensor: String,
        /// The shard with the first occurrence.
        other: PathBuf,
    },

    /// A tensor has another shape than the configuration gives it.
    #[error("{path}: tensor {tensor}: expected shape {expected:?}, found {found:?}", path = path.display())]
    TensorShape {
        /// The shard.
        path: PathBuf,
        /// The key as written.
        tensor: String,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
        /// The shape in the header.
        found: Vec<usize>,
    },

    /// A matrix cannot be packed in the way that `config.json` says.
    #[error("{path}: tensor {tensor}: expected {expected}, found {found}", path = path.display())]
    TensorQuantization {
        /// The shard.
        path: PathBuf,
        /// The key as written.
        tensor: String,
        /// What the packing needs.
        expected: String,
        /// What the configuration gives.
        found: String,
    },

    /// A tensor has another element type than its use allows.
    #[error("{path}: tensor {tensor}: expected dtype {expected}, found {found}", path = path.display())]
    TensorDtype {
        /// The shard.
        path: PathBuf,
        /// The key as written.
        tensor: String,
        /// The accepted types.
        expected: &'static str,
        /// The type in the header.
        found: String,
    },

    /// The bytes between a tensor's offsets are not what its shape and dtype take,
    /// or that product does not fit in memory.
    #[error("{path}: tensor {tensor}: expected {expected} bytes, found {found}", path = path.display())]
    TensorSize {
        /// The shard.
        path: PathBuf,
        /// The key as written.
        tensor: String,
        /// Bytes that shape and dtype take, or why there is no such number.
        expected: String,
        /// Bytes between the offsets.
        found: String,
    },

    /// A tensor's offsets run backwards or past the end of the file.
    #[error("{path}: tensor {tensor}: expected offsets within 0..{limit}, found {begin}..{end}", path = path.display())]
    TensorOffsets {
        /// The shard.
        path: PathBuf,
        /// The key as written.
        tensor: String,
        /// First byte, counted from the end of the header.
        begin: u64,
        /// One past the last byte.
        end: u64,
        /// Bytes of data in the file.
        limit: u64,
    },

    /// Two tensors share bytes.
    #[error("{path}: tensor {tensor} begins at byte {begin}, inside {other}, which ends at {end}", path = path.display())]
    TensorOverlap {
        /// The shard.
        path: PathBuf,
        /// The later tensor.
        tensor: String,
        /// Its first byte.
        begin: u64,
        /// The tensor it runs into.
        other: String,
        /// Where that one ends.
        end: u64,
    },

    /// Bytes of the file belong to no tensor.
    #[error("{path}: bytes {begin}..{end} belong to no tensor", path = path.display())]
    TensorHole {
        /// The shard.
        path: PathBuf,
        /// First byte of the hole, counted from the end of the header.
        begin: u64,
        /// One past its last byte.
        end: u64,
    },

    /// The index names a shard that is not there.
    #[error("{index}: shard {shard} is missing", index = index.display())]
    ShardMissing {
        /// The index file.
        index: PathBuf,
        /// The shard's name as written.
        shard: String,
    },

    /// The index names a shard by anything but a plain file name.
    #[error("{index}: expected a file name in the model directory, found {shard:?}", index = index.display())]
    ShardName {
        /// The index file.
        index: PathBuf,
        /// The name as written.
        shard: String,
    },

    /// The index and a shard disagree on where a tensor is.
    #[error("{index}: tensor {tensor}: expected in {expected}, found in {found}", index = index.display())]
    ShardIndex {
        /// The index file.
        index: PathBuf,
        /// The key as written.
        tensor: String,
        /// Where the index puts the tensor, or `no shard`.
        expected: String,
        /// Where it is, or `no shard`.
        found: String,
    },

    // ---- ONNX files ----
    /// A file is no ONNX graph, or one that this crate does not run: damaged, of another version,
    /// with operators from elsewhere, with a loop.
    #[error("{path}: not a usable ONNX file: {reason}", path = path.display())]
    OnnxFile {
        /// The ONNX file, or the directory it was looked for in.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// An input or output of an ONNX graph is missing, unknown, or of another rank, type or size.
    #[error("{path}: {value}: expected {expected}, found {found}", path = path.display())]
    OnnxInterface {
        /// The ONNX file.
        path: PathBuf,
        /// The input or output.
        value: String,
        /// What would have been accepted.
        expected: String,
        /// What the graph declares.
        found: String,
    },

    /// A tensor of an ONNX file lies in another file that is not there, is too short, or is not in
    /// the model's directory.
    #[error("{path}: tensor {tensor:?} lies in {location:?}: {reason}", path = path.display())]
    OnnxExternalData {
        /// The ONNX file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The file as written.
        location: String,
        /// What is wrong with it.
        reason: String,
    },

    // ---- tokenizer and text ----
    /// `tokenizer.json` does not load.
    #[error("{path}: not a usable tokenizer: {reason}", path = path.display())]
    Tokenizer {
        /// The tokenizer file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The tokenizer can emit ids for which the embedding table has no row.
    #[error("{path}: token {token:?} has id {id}, but the embedding table has {rows} rows", path = path.display())]
    TokenizerVocabulary {
        /// The tokenizer file.
        path: PathBuf,
        /// The offending token.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the embedding table.
        rows: usize,
    },

    /// A text could not be tokenised.
    #[error("input {index}: could not be tokenised: {reason}")]
    Tokenise {
        /// Position of the text in the request.
        index: usize,
        /// What the tokenizer said.
        reason: String,
    },

    /// A request holds no text at all.
    #[error("the request is empty: expected at least one input")]
    EmptyRequest,

    /// A list of token ids is empty; there is no last token to pool.
    #[error("input {index}: expected at least one token id, found none")]
    EmptyTokens {
        /// Position in the request.
        index: usize,
    },

    /// An input has more tokens than allowed and truncation was not asked for.
    #[error(
        "input {index}: {tokens} tokens, more than the limit of {limit}; shorten it or, if it is a text, allow truncation"
    )]
    TooManyTokens {
        /// Position in the request.
        index: usize,
        /// Tokens of the input, prompt and EOS included.
        tokens: usize,
        /// The limit in force.
        limit: usize,
    },

    /// A text has more bytes than the service takes, whatever truncation was asked for.
    #[error("input {index}: {bytes} bytes, more than the limit of {limit}; split the text")]
    TextTooLong {
        /// Position in the request.
        index: usize,
        /// Bytes of the text.
        bytes: usize,
        /// The limit in force.
        limit: usize,
    },

    /// A token id that the embedding table has no row for.
    #[error(
        "input {index}: token id {id} at position {position}: expected an id below {vocab_size}"
    )]
    TokenId {
        /// Position in the request.
        index: usize,
        /// Position in the sequence.
        position: usize,
        /// The id.
        id: u32,
        /// Rows of the embedding table.
        vocab_size: usize,
    },

    /// The model declares no prompt of that name.
    #[error("prompt {name:?} is not declared by the model; declared: {}", declared.join(", "))]
    UnknownPrompt {
        /// The name asked for.
        name: String,
        /// The names in `config_sentence_transformers.json`.
        declared: Vec<String>,
    },

    /// An option of the call is out of range.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The accepted range.
        expected: String,
        /// The value given.
        found: String,
    },

    // ---- running ----
    /// A vector came out with NaN, an infinity or all zeros, also when the input was run
    /// alone in f32.
    #[error(
        "input {index}: the model gave {found} instead of a finite non-zero vector, also alone in f32"
    )]
    NotFinite {
        /// Position in the request.
        index: usize,
        /// What was found: `NaN`, `infinity` or `a zero vector`.
        found: &'static str,
    },

    /// A batch needs an array larger than the backend can address, or more memory than there is.
    #[error("{tokens} tokens in {rows} sequences are too many for {backend}: {reason}")]
    BatchTooLarge {
        /// The backend.
        backend: &'static str,
        /// Sequences in the batch.
        rows: usize,
        /// Tokens of the longest sequence.
        tokens: usize,
        /// The bound that was passed.
        reason: String,
    },

    /// One input is too long for the device, though not for the model.
    #[error("input {index}: its {tokens} tokens are too many for {backend}: {reason}")]
    InputTooLarge {
        /// Position in the request.
        index: usize,
        /// The backend.
        backend: &'static str,
        /// Tokens of the input.
        tokens: usize,
        /// The bound that was passed.
        reason: String,
    },

    /// The weights do not fit into the memory that is left.
    #[error(
        "the model's weights take {needed} bytes on {backend}, and {free} are left; use a smaller model or 16-bit weights"
    )]
    ModelTooLarge {
        /// The backend.
        backend: &'static str,
        /// Bytes of the weights in the precision asked for.
        needed: u64,
        /// Bytes left.
        free: u64,
    },

    /// The weights cannot be held in int8 without giving other vectors.
    #[error("int8: {tensor}: {reason}; use another precision")]
    NotQuantizable {
        /// The weight, or one that stands for all.
        tensor: String,
        /// What was expected and what was found.
        reason: String,
    },

    /// The backend or device that was asked for cannot run here.
    #[error("{backend}: not available: {reason}")]
    BackendUnavailable {
        /// The backend, and the device if one was asked for.
        backend: String,
        /// Why, and what would help.
        reason: String,
    },

    /// An operation of the native library failed. The model must be loaded anew:
    /// the state of the library after an error is not defined.
    #[error("{backend}: {op}: {message}")]
    Backend {
        /// The backend.
        backend: &'static str,
        /// The operation.
        op: String,
        /// What the native library said.
        message: String,
    },

    /// A model that was loaded again has another vector space: its files were changed.
    #[error("model {model}: its files were changed while it was in use; start anew")]
    ModelChanged {
        /// The model's id, or the name of its directory.
        model: String,
    },

    // ---- hub ----
    /// No such model directory, and no such model on the hub.
    #[error("model {model:?} was not found: {reason}")]
    ModelNotFound {
        /// The directory or id as given.
        model: String,
        /// Where it was looked for.
        reason: String,
    },

    /// A file of the model is not in the local cache and the network is not to be used.
    #[error("model {model}: {file} is not in the local cache {cache}, and offline mode forbids fetching it", cache = cache.display())]
    Offline {
        /// The model id.
        model: String,
        /// The first file that is missing.
        file: String,
        /// The cache directory.
        cache: PathBuf,
    },

    /// A download failed. What had arrived is kept and the next attempt goes on from there.
    #[error("model {model}: {file}: download failed: {reason}")]
    Download {
        /// The model id.
        model: String,
        /// The file.
        file: String,
        /// What went wrong.
        reason: String,
    },

    /// A downloaded file has another content than the hub declares; it was removed from the cache.
    #[error(
        "model {model}: {file}: expected {algorithm} {expected}, found {found}; the file was removed, try again"
    )]
    HashMismatch {
        /// The model id.
        model: String,
        /// The file.
        file: String,
        /// The hash function.
        algorithm: &'static str,
        /// The hash that the hub declares.
        expected: String,
        /// The hash of what arrived.
        found: String,
    },
}

impl Error {
    /// An error about one input of a batch as one about input `position` of its request.
    pub(crate) fn at_input(mut self, position: usize) -> Self {
        if let Self::NotFinite { index, .. } | Self::InputTooLarge { index, .. } = &mut self {
            *index = position;
        }
        self
    }
}
