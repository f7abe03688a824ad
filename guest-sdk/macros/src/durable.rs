//! `#[workflow]`, `#[transaction]` and `#[communicator]`: a function becomes a call and a body.
//!
//! The author writes one function. What comes out are
//! * a function of the same name and parameters that hands the arguments to the host and returns what was recorded;
//! * a type of the same name, so that `greet::start(…)` stands beside `greet(…)`; types and functions have names of their
//!   own in Rust, so the two do not meet;
//! * the body, in a block that nobody can name, with a wrapper that decodes the arguments, and its registration.
//!
//! The generated names begin with `__dbos`, because the author's parameters are in scope beside them.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, FnArg, Pat, PatIdent};

use crate::{
    attributes::{DURABLE, find, is_lint_level},
    function::{Function, Parameter, place},
    name::public_name,
    options::{self, Options},
};

/// What a function becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Workflow,
    Transaction,
    Communicator,
}

impl Kind {
    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Kind::Workflow => "a workflow",
            Kind::Transaction => "a transaction",
            Kind::Communicator => "a communicator",
        }
    }
}

/// Expands one of the three attributes.
pub(crate) fn expand(kind: Kind, options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let function = Function::parse(kind.with_article(), item)?;
    if let Some((attribute, other)) = find(&function.item.attrs, &DURABLE) {
        let why = format!("a function is one of workflow, transaction and communicator: `{other}` is one too many");
        return Err(syn::Error::new_spanned(attribute, why));
    }
    let options = options::parse(kind, options)?;
    let name = public_name(&function.item.sig.ident, options.name.as_ref())?;
    let call = call(kind, &name, &function);
    let start = if kind == Kind::Workflow { start(&name, &function) } else { start_step(&name, &function) };
    let body = body(kind, &name, &options, &function);
    Ok(quote! { #call #start #body })
}

/// The parameters as the caller sees them: `mut` concerns only the body.
fn caller_parameters(parameters: &[Parameter]) -> TokenStream {
    let parameters = parameters.iter().map(|Parameter { ident, declared, .. }| quote!(#ident: #declared));
    quote!(#(#parameters),*)
}

/// Statements that put the arguments into `__dbos_arguments`.
fn encode(parameters: &[Parameter]) -> TokenStream {
    let inserts = parameters.iter().map(|Parameter { ident, name, declared, .. }| {
        quote_spanned!(place(declared)=> __dbos_arguments.insert(#name, &#ident)?;)
    });
    quote! {
        #[allow(unused_mut, reason = "a function without parameters has no arguments")]
        let mut __dbos_arguments = ::dbos_guest::__private::Arguments::new();
        #(#inserts)*
    }
}

/// The function that callers see.
fn call(kind: Kind, name: &str, function: &Function) -> TokenStream {
    let item = &function.item;
    // The levels of lints concern the code that the author wrote, and that is the body.
    let attributes = item.attrs.iter().filter(|attribute| !is_lint_level(attribute));
    let (visibility, ident, value) = (&item.vis, &item.sig.ident, &function.output.value);
    let parameters = caller_parameters(&function.parameters);
    let encode = encode(&function.parameters);
    let call = match kind {
        Kind::Workflow => quote!(run_workflow),
        Kind::Transaction => quote!(call_transaction),
        Kind::Communicator => quote!(call_communicator),
    };
    let call = quote_spanned!(place(value)=> ::dbos_guest::__private::#call(#name, __dbos_arguments));
    quote! {
        #(#attributes)*
        #[allow(dead_code, clippy::too_many_arguments, reason = "a durable function may have no caller in this crate")]
        #visibility fn #ident(#parameters) -> ::dbos_guest::Result<#value> {
            #encode
            #call
        }
    }
}

/// The type of the same name, with the functions that start the workflow.
fn start(name: &str, function: &Function) -> TokenStream {
    let item = &function.item;
    let (visibility, ident, value) = (&item.vis, &item.sig.ident, &function.output.value);
    let parameters = caller_parameters(&function.parameters);
    let encode = encode(&function.parameters);
    let arguments = function.parameters.iter().map(|parameter| &parameter.ident);
    let type_documentation = format!("Starts the workflow `{name}` without waiting for its end.");
    quote! {
        #[doc = #type_documentation]
        #[allow(non_camel_case_types, dead_code, reason = "it goes by the name of the function beside it")]
        #visibility enum #ident {}

        #[allow(dead_code, clippy::too_many_arguments, reason = "a workflow may only be called, or only be started")]
        impl #ident {
            /// Starts a run and returns once that is acknowledged: the run then goes to its end, whatever crashes.
            #visibility fn start(#parameters) -> ::dbos_guest::Result<::dbos_guest::Handle<#value>> {
                #ident::start_with(::dbos_guest::StartOptions::new(), #(#arguments),*)
            }

            /// As `start`, with options such as the id of the run.
            #visibility fn start_with(
                __dbos_options: ::dbos_guest::StartOptions,
                #parameters
            ) -> ::dbos_guest::Result<::dbos_guest::Handle<#value>> {
                #encode
                ::dbos_guest::__private::start_workflow(#name, __dbos_arguments, __dbos_options)
            }

            /// Ends this life of the workflow, which calls this itself and returns what this returns: it begins again
            /// under its id with these arguments, and without what it has recorded. Whoever waits for it goes on waiting.
            #visibility fn continue_with(#parameters) -> ::dbos_guest::Result<#value> {
                #encode
                ::dbos_guest::__private::continue_as_new(#name, __dbos_arguments)
            }
        }
    }
}

/// The type of the same name, with the functions that start the step beside the workflow.
fn start_step(name: &str, function: &Function) -> TokenStream {
    let item = &function.item;
    let (visibility, ident, value) = (&item.vis, &item.sig.ident, &function.output.value);
    let parameters = caller_parameters(&function.parameters);
    let encode = encode(&function.parameters);
    let type_documentation = format!("Starts the step `{name}` beside the workflow.");
    quote! {
        #[doc = #type_documentation]
        #[allow(non_camel_case_types, dead_code, reason = "it goes by the name of the function beside it")]
        #visibility enum #ident {}

        #[allow(dead_code, clippy::too_many_arguments, reason = "a step may only be called, or only be started")]
        impl #ident {
            /// Starts the step and returns at once. Available in workflows; see `dbos_guest::Step` for what holds.
            #visibility fn start(#parameters) -> ::dbos_guest::Result<::dbos_guest::Step<#value>> {
                #encode
                ::dbos_guest::__private::start_step(#name, __dbos_arguments, ::std::option::Option::None)
            }

            #[doc(hidden)]
            #visibility const __DBOS_NAME: &'static str = #name;

            /// As `start`, in a group whose steps share a bound.
            #visibility fn start_in(
                __dbos_group: ::dbos_guest::Group,
                #parameters
            ) -> ::dbos_guest::Result<::dbos_guest::Step<#value>> {
                #encode
                ::dbos_guest::__private::start_step(#name, __dbos_arguments, ::std::option::Option::Some(__dbos_group))
            }
        }
    }
}

/// The body as it was written, what decodes its arguments, and its registration.
fn body(kind: Kind, name: &str, options: &Options, function: &Function) -> TokenStream {
    let item = &function.item;
    let levels: Vec<&Attribute> = item.attrs.iter().filter(|attribute| is_lint_level(attribute)).collect();
    let body_ident = format_ident!("__dbos_body_of_{}", syn::ext::IdentExt::unraw(&item.sig.ident));
    let (output, block) = (&item.sig.output, &item.block);
    let parameters = item.sig.inputs.iter().map(|input| match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(PatIdent { mutability, ident, .. }) => {
                let declared = &typed.ty;
                quote!(#mutability #ident: #declared)
            }
            _ => quote!(#typed),
        },
        FnArg::Receiver(receiver) => quote!(#receiver),
    });
    let take = function.parameters.iter().map(|parameter| {
        let Parameter { ident, name, owned, .. } = parameter;
        let required = !parameter.is_optional();
        quote_spanned!(place(owned)=> let #ident: #owned = __dbos_arguments.take(#name, #required)?;)
    });
    let pass = function.parameters.iter().map(Parameter::pass);
    let outcome = if function.output.is_result { quote!(?) } else { quote!() };
    let value = &function.output.value;
    let encode = quote_spanned!(place(value)=> ::dbos_guest::__private::encode_result(#name, &__dbos_value));
    let registration = registration(kind, name, options, function);
    let undo_fits = undo_fits(options, function);
    quote! {
        const _: () = {
            #undo_fits

            #(#levels)*
            #[allow(
                clippy::needless_pass_by_value,
                clippy::too_many_arguments,
                clippy::unnecessary_wraps,
                reason = "arguments come decoded, and the function beside it returns a `Result`"
            )]
            // So that the backtrace of a panic has its name.
            #[inline(never)]
            fn #body_ident(#(#parameters),*) #output #block

            fn __dbos_run(
                #[allow(unused_mut, reason = "a function without parameters takes none")]
                mut __dbos_arguments: ::dbos_guest::__private::Arguments,
            ) -> ::dbos_guest::Result<::std::string::String> {
                #(#take)*
                __dbos_arguments.finish()?;
                let __dbos_value = #body_ident(#(#pass),*) #outcome;
                #encode
            }

            #registration
        };
    }
}

/// A function that nobody calls: the compiler checks with it that the undo takes what it will be given.
fn undo_fits(options: &Options, function: &Function) -> TokenStream {
    let Some(undo) = &options.undo else { return TokenStream::new() };
    let parameters = caller_parameters(&function.parameters);
    let arguments = function.parameters.iter().map(|parameter| &parameter.ident);
    let value = &function.output.value;
    let call = quote_spanned!(place(undo)=> #undo(#(#arguments,)* __dbos_result));
    quote! {
        #[allow(dead_code, clippy::too_many_arguments, reason = "it is only compiled")]
        fn __dbos_undo_fits(__dbos_result: ::std::option::Option<#value>, #parameters) {
            let _ = #call;
        }
    }
}

fn registration(kind: Kind, name: &str, options: &Options, function: &Function) -> TokenStream {
    let parameters = function.parameters.iter().map(|parameter| {
        let Parameter { name, owned, .. } = parameter;
        let required = !parameter.is_optional();
        quote_spanned!(place(owned)=> ::dbos_guest::__private::Parameter {
            name: #name,
            required: #required,
            schema: ::dbos_guest::__private::parameter_schema::<#owned>,
        })
    });
    let value = &function.output.value;
    let result = quote_spanned!(place(value)=> ::dbos_guest::__private::result_schema::<#value>);
    let common = quote! {
        name: #name,
        parameters: &[#(#parameters),*],
        result: #result,
        run: __dbos_run,
    };
    let undo = match &options.undo {
        Some(undo) => quote_spanned!(place(undo)=> ::std::option::Option::Some(#undo::__DBOS_NAME)),
        None => quote!(::std::option::Option::None),
    };
    let entry = match kind {
        Kind::Workflow => quote!(::dbos_guest::__private::Workflow { #common }),
        Kind::Transaction => {
            let Options { isolation, read_only, .. } = options;
            quote!(::dbos_guest::__private::Step {
                #common
                undo: #undo,
                kind: ::dbos_guest::__private::StepKind::Transaction { isolation: #isolation, read_only: #read_only },
            })
        }
        Kind::Communicator => {
            let Options { attempts, interval_ms, backoff, max_interval_ms, timeout_ms, .. } = options;
            quote!(::dbos_guest::__private::Step {
                #common
                undo: #undo,
                kind: ::dbos_guest::__private::StepKind::Communicator {
                    attempts: #attempts,
                    interval_ms: #interval_ms,
                    backoff: #backoff,
                    max_interval_ms: #max_interval_ms,
                    timeout_ms: #timeout_ms,
                },
            })
        }
    };
    quote!(::dbos_guest::__private::inventory::submit! { #entry })
}

#[cfg(test)]
mod tests {
    use super::{Kind, expand};
    use quote::quote;

    fn expanded(kind: Kind, options: proc_macro2::TokenStream, item: proc_macro2::TokenStream) -> String {
        let tokens = expand(kind, options, item).unwrap();
        syn::parse2::<syn::File>(tokens.clone()).expect("the expansion is a list of items");
        tokens.to_string()
    }

    #[test]
    fn a_workflow_can_be_called_and_started() {
        let code = expanded(
            Kind::Workflow,
            quote!(),
            quote!(
                pub fn greet(mut name: String) -> Result<u32> {
                    Ok(1)
                }
            ),
        );
        assert!(code.contains("pub fn greet (name : String) -> :: dbos_guest :: Result < u32 >"), "{code}");
        assert!(code.contains("pub enum greet { }"), "{code}");
        assert!(code.contains("fn __dbos_body_of_greet (mut name : String) -> Result < u32 > { Ok (1) }"), "{code}");
        assert!(code.contains("run_workflow (\"greet\""), "{code}");
    }

    #[test]
    fn a_step_can_be_called_and_started() {
        let code = expanded(
            Kind::Transaction,
            quote!(name = "in.sert"),
            quote!(
                fn insert() {}
            ),
        );
        assert!(code.contains("enum insert { }"), "{code}");
        assert!(code.contains("call_transaction (\"in.sert\""), "{code}");
        assert!(code.contains("start_step (\"in.sert\""), "{code}");
        assert!(code.contains("fn start_in (__dbos_group : :: dbos_guest :: Group ,)"), "{code}");
    }

    #[test]
    fn the_levels_of_lints_stay_with_the_body() {
        let item = quote!(
            #[expect(clippy::unwrap_used, reason = "x")]
            /// Doc.
            #[get("/x")]
            fn insert() {}
        );
        let code = expanded(Kind::Transaction, quote!(), item);
        assert_eq!(code.matches("unwrap_used").count(), 1);
        assert!(
            code.find("# [get").unwrap() < code.find("pub fn insert").or(code.find("fn insert")).unwrap(),
            "{code}"
        );
        assert!(code.find("unwrap_used").unwrap() > code.find("const _").unwrap(), "{code}");
    }

    #[test]
    fn a_function_is_one_thing() {
        let item = quote!(
            #[dbos_guest::communicator(attempts = 2)]
            fn f() {}
        );
        let error = expand(Kind::Workflow, quote!(), item).unwrap_err().to_string();
        assert_eq!(
            error,
            "a function is one of workflow, transaction and communicator: `communicator` is one too many"
        );
    }
}
