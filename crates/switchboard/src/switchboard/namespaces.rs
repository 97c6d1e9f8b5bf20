//! The namespaces of a server, as users reach them.

use std::sync::Arc;

use super::Switchboard;
use crate::api::namespace::Namespace;
use crate::api::namespaces::OnNew;
use crate::api::parents::{Allows, NamespaceRequest};
use crate::api::pattern::NamespacePattern;

impl Switchboard {
    /// The namespace of this name, made at the first call. A missing leading slash is added.
    pub fn of(&self, name: &str) -> Namespace {
        Namespace { inner: self.namespaces.of(name) }
    }

    /// The namespace `/`.
    pub fn root(&self) -> Namespace {
        self.of("/")
    }

    /// All namespaces that there are now, in no order.
    pub fn namespaces(&self) -> Vec<Namespace> {
        self.namespaces.all().into_iter().map(|inner| Namespace { inner }).collect()
    }

    /// Calls the function with each namespace that is made from now on (`new_namespace` of Node), on the
    /// thread that makes it. A namespace is made by the first call of [`of`](Self::of) with its name, or by the
    /// first client that connects to a name of a [pattern](Self::of_pattern). `/` is there from the beginning.
    /// If clients of several workers connect at the same time, one of them may be in the namespace before the
    /// function has returned: handlers for all belong to the pattern's namespace.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let io = switchboard::Switchboard::builder().workers(1).build()?;
    /// io.on_new_namespace(|namespace| println!("{} is new", namespace.name()));
    /// io.of("/chat");
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_new_namespace(&self, function: impl Fn(&Namespace) + Send + Sync + 'static) -> &Self {
        let function: OnNew = Arc::new(function);
        self.namespaces.on_new(&function);
        self
    }

    /// Lets clients make namespaces by connecting: all whose names the pattern matches. Returns their parent
    /// (`of(/regex/)` of Node). Functions that are registered on the parent serve all its
    /// [children](Namespace::children), those that are there and those that come; functions registered on a
    /// child come after them, and replace the parent's handler of the same event. What is sent to the parent
    /// goes to all children.
    ///
    /// A namespace that was made with [`of`](Self::of) before goes first; then patterns and
    /// [functions](Self::of_function) in the order of their registration. A child is made once, even if many
    /// clients ask for it at the same time. Children are [bounded](crate::SocketIoOptions::max_child_namespaces)
    /// in number and [name](crate::SocketIoOptions::max_child_name_bytes), and stay unless
    /// [`cleanup_empty_child_namespaces`](crate::Builder::cleanup_empty_child_namespaces) is on.
    ///
    /// ```
    /// use switchboard::{Data, NamespacePattern, Socket, Switchboard};
    ///
    /// # fn main() -> switchboard::Result {
    /// let io = Switchboard::builder().workers(1).build()?;
    /// let documents = io.of_pattern(NamespacePattern::regex(r"^/document-\d+$")?);
    /// documents.on("edit", |socket: Socket, Data(edit): Data<String>| {
    ///     // To all that have this document open.
    ///     socket.broadcast().emit("edited", edit)
    /// });
    /// // To all that have any document open.
    /// documents.emit("maintenance", "in five minutes")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_pattern(&self, pattern: NamespacePattern) -> Namespace {
        let name = pattern.to_string();
        Namespace { inner: self.namespaces.add_parent(&name, Allows::Pattern(pattern)) }
    }

    /// As [`of_pattern`](Self::of_pattern), but a function is asked whether a client may make the namespace
    /// (`of((name, auth, next) => …)` of Node). It may wait; the client's other packets are handled meanwhile.
    /// It is called for each client that asks for a name which is not there.
    ///
    /// ```
    /// use switchboard::{NamespaceRequest, Switchboard};
    ///
    /// # async fn is_project(_: &str) -> bool { true }
    /// # fn main() -> std::io::Result<()> {
    /// let io = Switchboard::builder().workers(1).build()?;
    /// let projects = io.of_function(async |request: NamespaceRequest| match request.name().strip_prefix("/project-") {
    ///     Some(project) => is_project(project).await,
    ///     None => false,
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_function<F>(&self, allows: impl Fn(NamespaceRequest) -> F + Send + Sync + 'static) -> Namespace
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let allows = Allows::Function(Arc::new(move |request| Box::pin(allows(request))));
        Namespace { inner: self.namespaces.add_parent("a function's namespaces", allows) }
    }
}
