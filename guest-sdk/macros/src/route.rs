//! `#[get("/greeting/{name}")]` and its siblings: a function answers HTTP requests.
//!
//! The function stays what it is, so that it can be called as well, and so that a step or a workflow can be bound to a
//! path: this macro only adds a wrapper that takes the function's arguments out of a request and makes a response of
//! its value, and registers it. Where each argument comes from is decided here, by name and type, so that a placeholder
//! without a parameter, or a body in a GET, is an error of the compiler.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Ident, LitStr, Token,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

use crate::{
    attributes::{DURABLE, ROUTES, find},
    function::{Function, Parameter, place},
    name::public_name,
    path::placeholders,
};

/// The methods that a route may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// `"/path"` or `"/path", name = "…"`.
struct Options {
    path: LitStr,
    name: Option<LitStr>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let path = input.parse().map_err(|error| {
            syn::Error::new(error.span(), "a route needs its path, as in `#[get(\"/greeting/{name}\")]`")
        })?;
        let mut name = None;
        while input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let key: Ident = input.parse()?;
            if key != "name" {
                return Err(syn::Error::new(
                    key.span(),
                    format!("`{key}` is not an option of a route; there is `name`"),
                ));
            }
            if name.is_some() {
                return Err(syn::Error::new(key.span(), "`name` is given twice"));
            }
            input.parse::<Token![=]>()?;
            name = Some(input.parse()?);
        }
        if input.is_empty() {
            Ok(Options { path, name })
        } else {
            Err(input.error("expected `, name = \"…\"` or the end"))
        }
    }
}

/// Expands one of the route attributes.
pub(crate) fn expand(method: Method, options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let options: Options = syn::parse2(options)?;
    let function = Function::parse("a handler", item)?;
    let placeholders = placeholders(&options.path)?;
    let name = public_name(&function.item.sig.ident, options.name.as_ref())?;
    check_other_routes(&options, &function)?;
    for placeholder in &placeholders {
        if !function.parameters.iter().any(|parameter| parameter.name == *placeholder) {
            let why = format!(
                "the placeholder `{{{placeholder}}}` needs a parameter of that name: `{placeholder}: String`, say"
            );
            return Err(syn::Error::new(options.path.span(), why));
        }
    }
    let sources = function
        .parameters
        .iter()
        .map(|parameter| source(method, parameter, &placeholders))
        .collect::<syn::Result<Vec<_>>>()?;
    if sources.iter().filter(|source| **source == Source::Body).count() > 1 {
        let why = "a request has one body: put what it holds into one type";
        return Err(syn::Error::new(function.item.sig.inputs.span(), why));
    }
    let wrapper = wrapper(method, &name, &options.path, &function, &sources);
    let item = &function.item;
    // So that the backtrace of a panic has its name; that of a durable function is in the backtrace by its own macro.
    let is_named = find(&item.attrs, &DURABLE).is_some() || find(&item.attrs, &["inline"]).is_some();
    let named = if is_named { quote!() } else { quote!(#[inline(never)]) };
    Ok(quote! { #named #item #wrapper })
}

/// Two routes of one function would both have its name, and names of routes are unique.
fn check_other_routes(options: &Options, function: &Function) -> syn::Result<()> {
    for attribute in &function.item.attrs {
        let Some((attribute, _)) = find(std::slice::from_ref(attribute), &ROUTES) else { continue };
        let other: Options = attribute.parse_args()?;
        if other.name.as_ref().map(LitStr::value) == options.name.as_ref().map(LitStr::value) {
            let why = "two routes of one function need two names: `#[get(\"/path\", name = \"…\")]`";
            return Err(syn::Error::new(attribute.span(), why));
        }
    }
    Ok(())
}

/// Where an argument of a handler comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Path,
    Query,
    QueryOrForm,
    Body,
    Request,
}

fn source(method: Method, parameter: &Parameter, placeholders: &[String]) -> syn::Result<Source> {
    let refuse = |why: &str| Err(syn::Error::new(parameter.declared.span(), why));
    let in_path = placeholders.contains(&parameter.name);
    match (parameter.is_named("Json"), parameter.is_named("Request"), in_path) {
        (true, _, true) | (_, true, true) => {
            refuse("a placeholder's value is one word of the path: take it as a simple type")
        }
        (true, _, _) if matches!(method, Method::Get | Method::Delete) => refuse(
            "a GET or DELETE request has no body to take `Json` from: use `#[post]`, or parameters of the query string",
        ),
        (true, _, _) => Ok(Source::Body),
        (_, true, _) => Ok(Source::Request),
        (_, _, true) => Ok(Source::Path),
        _ if matches!(method, Method::Get | Method::Delete) => Ok(Source::Query),
        _ => Ok(Source::QueryOrForm),
    }
}

fn wrapper(method: Method, name: &str, path: &LitStr, function: &Function, sources: &[Source]) -> TokenStream {
    let item = &function.item;
    let ident = &item.sig.ident;
    let take = function.parameters.iter().zip(sources).map(|(parameter, source)| {
        let Parameter { ident, name, owned, .. } = parameter;
        let value = match source {
            Source::Path => quote!(__dbos_request.path_parameter(#name)?),
            Source::Query => quote!(__dbos_request.query_parameter(#name)?),
            Source::QueryOrForm => quote!(__dbos_request.parameter(#name)?),
            Source::Body => quote!(::dbos_guest::Json(__dbos_request.json_parameter(#name)?)),
            Source::Request => quote!(::std::clone::Clone::clone(&__dbos_request)),
        };
        quote_spanned!(place(owned)=> let #ident: #owned = #value;)
    });
    let pass = function.parameters.iter().map(Parameter::pass);
    // A durable function returns a `Result` once its own macro has run, whatever it is declared to return.
    let is_result = function.output.is_result || find(&item.attrs, &DURABLE).is_some();
    let outcome = if is_result { quote!(?) } else { quote!() };
    let method = method.name();
    quote! {
        const _: () = {
            #[allow(clippy::let_unit_value, unused_variables, reason = "a handler may take and return nothing")]
            fn __dbos_handle(
                __dbos_request: ::dbos_guest::Request,
            ) -> ::dbos_guest::Result<::dbos_guest::Response> {
                use ::dbos_guest::__private::{AsJson as _, AsResponse as _};
                // Before the arguments, one of which may have the function's name.
                let __dbos_function = #ident;
                #(#take)*
                let __dbos_value = __dbos_function(#(#pass),*) #outcome;
                (&::dbos_guest::__private::Reply::new(__dbos_value)).respond()
            }

            ::dbos_guest::__private::inventory::submit! {
                ::dbos_guest::__private::Route {
                    name: #name,
                    method: #method,
                    path: #path,
                    handle: __dbos_handle,
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Method, expand};
    use proc_macro2::TokenStream;
    use quote::quote;

    fn expanded(method: Method, options: TokenStream, item: TokenStream) -> String {
        let tokens = expand(method, options, item).unwrap();
        syn::parse2::<syn::File>(tokens.clone()).expect("the expansion is a list of items");
        tokens.to_string()
    }

    fn refused(method: Method, options: TokenStream, item: TokenStream) -> String {
        expand(method, options, item).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_get_has_no_form() {
        let code = expanded(
            Method::Get,
            quote!("/x"),
            quote!(
                fn f(page: u32) {}
            ),
        );
        assert!(code.contains("query_parameter (\"page\")"), "{code}");
    }

    #[test]
    fn arguments_come_from_where_their_name_and_type_say() {
        let item = quote!(
            fn f(id: u32, page: Option<u32>, body: Json<New>, request: Request) -> Result<String> {
                g()
            }
        );
        let code = expanded(Method::Post, quote!("/things/{id}"), item);
        assert!(code.contains("path_parameter (\"id\")"), "{code}");
        assert!(code.contains("let page : Option < u32 > = __dbos_request . parameter (\"page\")"), "{code}");
        assert!(code.contains("let body : Json < New > = :: dbos_guest :: Json"), "{code}");
        assert!(code.contains("let request : Request = :: std :: clone"), "{code}");
        assert!(code.contains("let __dbos_function = f ;"), "{code}");
        assert!(code.contains("__dbos_function (id , page , body , request) ?"), "{code}");
    }

    #[test]
    fn a_durable_function_below_keeps_its_attribute_and_returns_a_result() {
        let item = quote!(
            #[transaction(read_only)]
            fn greetings(limit: &str) -> Vec<Greeting> {
                Vec::new()
            }
        );
        let code = expanded(Method::Get, quote!("/greetings", name = "list"), item);
        assert!(code.starts_with("# [transaction (read_only)] fn greetings"), "{code}");
        assert!(code.contains("__dbos_function (& limit) ?"), "{code}");
        assert!(code.contains("name : \"list\""), "{code}");
    }

    #[test]
    fn routes_that_cannot_work() {
        let f = || {
            quote!(
                fn f(name: String) {}
            )
        };
        assert!(refused(Method::Get, quote!(), f()).contains("a route needs its path"));
        assert!(refused(Method::Get, quote!("/{nmae}"), f()).contains("`{nmae}` needs a parameter of that name"));
        assert!(refused(Method::Get, quote!("/x", path = "y"), f()).contains("not an option of a route"));
        assert!(
            refused(
                Method::Get,
                quote!("/x"),
                quote!(
                    fn f(b: Json<u8>) {}
                )
            )
            .contains("no body")
        );
        assert!(
            refused(
                Method::Post,
                quote!("/x"),
                quote!(
                    fn f(a: Json<u8>, b: Json<u8>) {}
                )
            )
            .contains("one body")
        );
        assert!(
            refused(
                Method::Post,
                quote!("/{a}"),
                quote!(
                    fn f(a: Json<u8>) {}
                )
            )
            .contains("simple type")
        );
        assert!(
            refused(
                Method::Get,
                quote!("/x"),
                quote!(
                    async fn f() {}
                )
            )
            .starts_with("a handler cannot be `async`")
        );
        let twice = quote!(
            #[post("/y")]
            fn f() {}
        );
        assert!(refused(Method::Get, quote!("/x"), twice).contains("two names"));
    }
}
