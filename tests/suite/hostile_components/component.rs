//! Components written by hand: what no compiler makes, in the smallest form that is still an app.

/// The manifest of such a component: one workflow, one step, one route.
const MANIFEST: &str = r#"{"sdk":"by hand","workflows":[{"name":"flow","parameters":[],"result":{}}],"steps":[{"name":"step","kind":"transaction","parameters":[],"result":{}}],"routes":[{"name":"page","method":"GET","path":"/page"}]}"#;

/// What the parts of a component do, in WebAssembly's text format.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// More fields of the module: memories, tables, a start function.
    pub(super) fields: String,
    /// The body of what allocates memory for arguments.
    pub(super) realloc: String,
    /// What happens in `describe` before the answer.
    pub(super) describe: String,
    /// The same for workflows and steps.
    pub(super) run: String,
    /// What is cleared up after an answer.
    pub(super) post_return: String,
    /// The manifest.
    pub(super) manifest: String,
}

/// A module that does as it should: a place for arguments that is large enough, answers of `null`.
impl Default for Parts {
    fn default() -> Self {
        Self {
            fields: String::new(),
            realloc: "(i32.const 32768)".into(),
            describe: String::new(),
            run: String::new(),
            post_return: String::new(),
            manifest: MANIFEST.into(),
        }
    }
}

/// Never ends.
pub(super) const LOOP: &str = "(loop $again (br $again))";

impl Parts {
    /// The component's bytes.
    pub(super) fn build(&self) -> Vec<u8> {
        let Self { fields, realloc, describe, run, post_return, manifest } = self;
        // Two for what is small, and the manifest behind it.
        let pages = 3 + manifest.len() / 65536;
        let (length, manifest) = (manifest.len(), manifest.replace('"', "\\\""));
        let text = format!(
            r#"(component
  (core module $module
    (memory (export "memory") {pages})
    {fields}
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
    (func (export "describe") (result i32) {describe}
      (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const {length})) (i32.const 0))
    (func (export "run") (param i32 i32 i32 i32) (result i32) {run}
      (i32.store8 (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (i32.const 1024))
      (i32.store (i32.const 8) (i32.const 4)) (i32.const 0))
    (func (export "handle")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {run}
      (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (i32.const 0)) (i32.store (i32.const 8) (i32.const 0))
      (i32.store (i32.const 12) (i32.const 1024)) (i32.store (i32.const 16) (i32.const 4)) (i32.const 0))
    (func (export "post-return") (param i32) {post_return})
    (data (i32.const 1024) "null")
    (data (i32.const 65536) "{manifest}"))
  (core instance $core (instantiate $module))
  (alias core export $core "memory" (core memory $memory))
  (alias core export $core "realloc" (core func $realloc))
  {TYPES}
  (func $describe (result string)
    (canon lift (core func $core "describe") (memory $memory) (post-return (func $core "post-return"))))
  (func $run (param "name" string) (param "arguments" string) (result (result string (error $failure)))
    (canon lift (core func $core "run") (memory $memory) (realloc $realloc) (post-return (func $core "post-return"))))
  (func $handle (param "route" string) (param "request" $request) (result $response)
    (canon lift (core func $core "handle") (memory $memory) (realloc $realloc) (post-return (func $core "post-return"))))
  {APP}
  (instance $app (instantiate $interface
    (with "cause" (type $cause)) (with "failure" (type $failure)) (with "request" (type $request)) (with "response" (type $response))
    (with "describe" (func $describe)) (with "run" (func $run)) (with "handle" (func $handle))))
  (export "dbos:host/app@0.1.0" (instance $app)))"#
        );
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The records of the contract.
const TYPES: &str = r#"
  (type $cause (record (field "name" string) (field "message" string)))
  (type $failure (record (field "name" string) (field "message" string) (field "code" (option string))
    (field "data" (option string)) (field "retryable" bool) (field "causes" (list $cause)) (field "backtrace" (list string))))
  (type $request (record (field "method" string) (field "path" string)
    (field "path-parameters" (list (tuple string string))) (field "query" (option string))
    (field "headers" (list (tuple string (list u8)))) (field "body" (list u8))))
  (type $response (record (field "status" u16) (field "headers" (list (tuple string (list u8)))) (field "body" (list u8))))"#;

/// The interface of the contract: an instance that exports its own types has to be made of a component.
const APP: &str = r#"
  (component $interface
    (type $cause0 (record (field "name" string) (field "message" string)))
    (import "cause" (type $cause (eq $cause0)))
    (type $failure0 (record (field "name" string) (field "message" string) (field "code" (option string))
      (field "data" (option string)) (field "retryable" bool) (field "causes" (list $cause))
      (field "backtrace" (list string))))
    (import "failure" (type $failure (eq $failure0)))
    (type $request0 (record (field "method" string) (field "path" string)
      (field "path-parameters" (list (tuple string string))) (field "query" (option string))
      (field "headers" (list (tuple string (list u8)))) (field "body" (list u8))))
    (import "request" (type $request (eq $request0)))
    (type $response0 (record (field "status" u16) (field "headers" (list (tuple string (list u8)))) (field "body" (list u8))))
    (import "response" (type $response (eq $response0)))
    (import "describe" (func $describe (result string)))
    (import "run" (func $run (param "name" string) (param "arguments" string) (result (result string (error $failure)))))
    (import "handle" (func $handle (param "route" string) (param "request" $request) (result $response)))
    (export $cause1 "cause" (type $cause))
    (type $failure2 (record (field "name" string) (field "message" string) (field "code" (option string))
      (field "data" (option string)) (field "retryable" bool) (field "causes" (list $cause1))
      (field "backtrace" (list string))))
    (export $failure1 "failure" (type $failure) (type (eq $failure2)))
    (export $request1 "request" (type $request))
    (export $response1 "response" (type $response))
    (export "describe" (func $describe))
    (export "run-workflow" (func $run)
      (func (param "name" string) (param "arguments" string) (result (result string (error $failure1)))))
    (export "run-step" (func $run)
      (func (param "name" string) (param "arguments" string) (result (result string (error $failure1)))))
    (export "handle" (func $handle)
      (func (param "route" string) (param "request" $request1) (result $response1))))"#;
