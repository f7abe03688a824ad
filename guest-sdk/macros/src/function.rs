//! What a durable function or a handler may look like.
//!
//! Its parameters become the keys of a JSON object and its result becomes JSON, its body is run by the host and not by
//! its caller. Whatever cannot be called in that way is refused here, each with a sentence that says what to write
//! instead.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    FnArg, GenericArgument, Ident, ItemFn, Pat, PatIdent, PathArguments, ReturnType, Signature, Type, TypePath,
    TypeReference, ext::IdentExt, spanned::Spanned,
};

/// One parameter: its name, and its type with the reference taken off.
#[derive(Debug)]
pub(crate) struct Parameter {
    /// As it is written, `r#type` included.
    pub(crate) ident: Ident,
    /// As it is called in JSON and in paths.
    pub(crate) name: String,
    /// As it is declared.
    pub(crate) declared: Type,
    /// What is decoded: `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T` and `T`.
    pub(crate) owned: Type,
    pub(crate) by_reference: bool,
}

impl Parameter {
    /// An `Option` may be left out by a caller.
    pub(crate) fn is_optional(&self) -> bool {
        last_segment(&self.owned).is_some_and(|segment| segment == "Option")
    }

    /// Whether the type's name is `name`, however it is qualified.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        last_segment(&self.owned).is_some_and(|segment| segment == name)
    }

    /// The expression that hands the decoded value to the body.
    pub(crate) fn pass(&self) -> TokenStream {
        let ident = &self.ident;
        if self.by_reference { quote::quote!(&#ident) } else { ident.to_token_stream() }
    }
}

/// What the body returns.
#[derive(Debug)]
pub(crate) struct Output {
    /// The value on success: `T` of a `Result<T, …>`, or the whole type.
    pub(crate) value: Type,
    pub(crate) is_result: bool,
}

/// A checked function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) item: ItemFn,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) output: Output,
}

impl Function {
    /// Reads `item`; `what` names the macro in errors, with its article: `a workflow`.
    pub(crate) fn parse(what: &str, item: TokenStream) -> syn::Result<Function> {
        let span = item.clone();
        let item: ItemFn = syn::parse2(item)
            .map_err(|_| syn::Error::new_spanned(span, format!("{what} must be a function with a body")))?;
        check_signature(what, &item.sig)?;
        let parameters =
            item.sig.inputs.iter().map(|input| parameter(what, input)).collect::<syn::Result<Vec<Parameter>>>()?;
        let output = output(what, &item.sig.output)?;
        Ok(Function { item, parameters, output })
    }
}

fn check_signature(what: &str, signature: &Signature) -> syn::Result<()> {
    let refuse = |span: &dyn ToTokens, why: &str| Err(syn::Error::new_spanned(span, format!("{what} {why}")));
    if let Some(token) = &signature.asyncness {
        return refuse(token, "cannot be `async`: write it synchronously, the host runs many at once");
    }
    if let Some(token) = &signature.unsafety {
        return refuse(token, "cannot be `unsafe`: the host calls it");
    }
    if let Some(token) = &signature.constness {
        return refuse(token, "cannot be `const`: its call goes to the host");
    }
    if let Some(abi) = &signature.abi {
        return refuse(abi, "cannot have an ABI: the host calls it by its name");
    }
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        return refuse(
            &signature.ident,
            "cannot be generic: it is called by its name, with JSON. Use concrete types, without lifetimes",
        );
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "cannot take a variable number of arguments");
    }
    Ok(())
}

fn parameter(what: &str, input: &FnArg) -> syn::Result<Parameter> {
    let typed = match input {
        FnArg::Receiver(receiver) => {
            let why = format!("{what} cannot take `self`: make it a free function and pass what it needs as arguments");
            return Err(syn::Error::new_spanned(receiver, why));
        }
        FnArg::Typed(typed) => typed,
    };
    if let Some(attribute) = typed.attrs.first() {
        return Err(syn::Error::new_spanned(attribute, "attributes on parameters are not supported here"));
    }
    let ident = match &*typed.pat {
        Pat::Ident(PatIdent { by_ref: None, subpat: None, ident, .. }) => ident.clone(),
        pattern => {
            let why = "a parameter needs a plain name, by which it is passed: take it apart in the body";
            return Err(syn::Error::new_spanned(pattern, why));
        }
    };
    let declared = (*typed.ty).clone();
    let (owned, by_reference) = match &declared {
        Type::Reference(reference) => (owned_type(reference)?, true),
        other => (other.clone(), false),
    };
    if let Some(inner) = find_unsupported(owned.to_token_stream()) {
        return Err(syn::Error::new_spanned(&declared, inner));
    }
    Ok(Parameter { name: ident.unraw().to_string(), ident, declared, owned, by_reference })
}

/// The type that is decoded for a parameter of a reference type.
fn owned_type(reference: &TypeReference) -> syn::Result<Type> {
    if let Some(token) = &reference.mutability {
        let why = "a parameter cannot be `&mut`: the body runs in another instance, so its caller would see no change";
        return Err(syn::Error::new_spanned(token, why));
    }
    if let Some(lifetime) = &reference.lifetime {
        let why = "a parameter lives as long as the call: leave the lifetime out";
        return Err(syn::Error::new_spanned(lifetime, why));
    }
    Ok(match &*reference.elem {
        Type::Path(TypePath { qself: None, path }) if path.is_ident("str") => syn::parse_quote!(::std::string::String),
        Type::Slice(slice) => {
            let element = &slice.elem;
            syn::parse_quote!(::std::vec::Vec<#element>)
        }
        other => other.clone(),
    })
}

/// Types that serde cannot decode from JSON, found by their tokens so that the error has a sentence of ours.
fn find_unsupported(tokens: TokenStream) -> Option<&'static str> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Punct(punct) if punct.as_char() == '&' => {
            Some("a reference inside a type cannot be decoded from JSON: use the owned type, as `String` for `&str`")
        }
        TokenTree::Ident(ident) if ident == "impl" || ident == "dyn" => {
            Some("a parameter needs a concrete type, so that it can be decoded from JSON")
        }
        TokenTree::Group(group) => find_unsupported(group.stream()),
        _ => None,
    })
}

fn output(what: &str, output: &ReturnType) -> syn::Result<Output> {
    let declared = match output {
        ReturnType::Default => return Ok(Output { value: syn::parse_quote!(()), is_result: false }),
        ReturnType::Type(_, declared) => &**declared,
    };
    match declared {
        Type::ImplTrait(_) | Type::Reference(_) | Type::Never(_) => Err(syn::Error::new(
            declared.span(),
            format!("{what} must return an owned, concrete type, or a `Result` of one"),
        )),
        other => match result_value(other) {
            Some(value) => Ok(Output { value, is_result: true }),
            None => Ok(Output { value: other.clone(), is_result: false }),
        },
    }
}

/// `T` of a type that is called `Result<T, …>`. A `Result` under another name is taken for a value, and the compiler
/// then says that the error in it cannot be serialised.
fn result_value(declared: &Type) -> Option<Type> {
    let Type::Path(TypePath { qself: None, path }) = declared else { return None };
    let last = path.segments.last().filter(|segment| segment.ident == "Result")?;
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) => arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::Type(value) => Some(value.clone()),
            _ => None,
        }),
        // `fmt::Result` and the like.
        _ => Some(syn::parse_quote!(())),
    }
}

/// Where the compiler points to when generated code about `tokens` does not fit: at the tokens, but with names resolved
/// like those of the other generated code, or a function that a `macro_rules` writes would not find them.
pub(crate) fn place(tokens: &impl Spanned) -> Span {
    Span::call_site().located_at(tokens.span())
}

fn last_segment(declared: &Type) -> Option<&Ident> {
    match declared {
        Type::Path(TypePath { path, .. }) => path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Function;
    use quote::{ToTokens, quote};

    fn refused(item: proc_macro2::TokenStream) -> String {
        Function::parse("a workflow", item).expect_err("must be refused").to_string()
    }

    #[test]
    fn parameters_and_results() {
        let function = Function::parse(
            "a workflow",
            quote!(
                fn f(mut a: String, b: &str, c: &[u8], d: &Order, r#type: Option<u32>) -> Result<Vec<u8>> {
                    body()
                }
            ),
        )
        .unwrap();
        let owned: Vec<String> =
            function.parameters.iter().map(|p| p.owned.to_token_stream().to_string().replace(' ', "")).collect();
        assert_eq!(owned, ["String", "::std::string::String", "::std::vec::Vec<u8>", "Order", "Option<u32>"]);
        let names: Vec<&str> = function.parameters.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "type"]);
        assert_eq!(function.parameters.iter().filter(|p| p.is_optional()).count(), 1);
        assert!(function.output.is_result);
        assert_eq!(function.output.value.to_token_stream().to_string(), "Vec < u8 >");
    }

    #[test]
    fn results_of_all_kinds() {
        let output = |item| Function::parse("a workflow", item).unwrap().output;
        let value = |item| output(item).value.to_token_stream().to_string();
        assert_eq!(
            value(quote!(
                fn f() {}
            )),
            "()"
        );
        assert_eq!(
            value(quote!(
                fn f() -> u32 {
                    1
                }
            )),
            "u32"
        );
        assert_eq!(
            value(quote!(
                fn f() -> std::result::Result<u32, MyError> {
                    Ok(1)
                }
            )),
            "u32"
        );
        assert!(
            !output(quote!(
                fn f() -> Option<u32> {
                    None
                }
            ))
            .is_result
        );
    }

    #[test]
    fn what_cannot_be_called_with_json_is_refused_with_a_sentence() {
        assert!(
            refused(quote!(
                struct S;
            ))
            .contains("a workflow must be a function")
        );
        assert!(
            refused(quote!(
                async fn f() {}
            ))
            .starts_with("a workflow cannot be `async`")
        );
        assert!(
            refused(quote!(
                unsafe fn f() {}
            ))
            .starts_with("a workflow cannot be `unsafe`")
        );
        assert!(
            refused(quote!(
                const fn f() {}
            ))
            .starts_with("a workflow cannot be `const`")
        );
        assert!(
            refused(quote!(
                extern "C" fn f() {}
            ))
            .starts_with("a workflow cannot have an ABI")
        );
        assert!(
            refused(quote!(
                fn f<T>(x: T) {}
            ))
            .starts_with("a workflow cannot be generic")
        );
        assert!(
            refused(quote!(
                fn f<'a>(x: &'a str) {}
            ))
            .starts_with("a workflow cannot be generic")
        );
        assert!(
            refused(quote!(
                fn f(&self) {}
            ))
            .starts_with("a workflow cannot take `self`")
        );
        assert!(
            refused(quote!(
                fn f((a, b): (u8, u8)) {}
            ))
            .contains("a plain name")
        );
        assert!(
            refused(quote!(
                fn f(_: u8) {}
            ))
            .contains("a plain name")
        );
        assert!(
            refused(quote!(
                fn f(x: &mut u8) {}
            ))
            .contains("cannot be `&mut`")
        );
        assert!(
            refused(quote!(
                fn f(x: &'static str) {}
            ))
            .contains("leave the lifetime out")
        );
        assert!(
            refused(quote!(
                fn f(x: Option<&str>) {}
            ))
            .contains("use the owned type")
        );
        assert!(
            refused(quote!(
                fn f(x: impl Into<String>) {}
            ))
            .contains("a concrete type")
        );
        assert!(
            refused(quote!(
                fn f(x: &dyn Order) {}
            ))
            .contains("a concrete type")
        );
        assert!(
            refused(quote!(
                fn f() -> impl Serialize {
                    1
                }
            ))
            .contains("owned, concrete type")
        );
        assert!(
            refused(quote!(
                fn f(#[cfg(x)] a: u8) {}
            ))
            .contains("attributes on parameters")
        );
    }
}
