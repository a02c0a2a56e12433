//! The apps that every contender routes to, one backend behind them all.
//!
//! A few, not one: choosing by `Host` is part of the work. The calls all go to the first.

pub(crate) const DOMAIN: &str = "ignite.dodil.cloud";

pub(crate) struct App {
    pub(crate) organization: &'static str,
    pub(crate) name: &'static str,
}

pub(crate) const CALLED: App = App { organization: "acme", name: "hello" };

pub(crate) const APPS: [App; 4] = [
    CALLED,
    App { organization: "acme-corp", name: "my-data-processor" },
    App { organization: "globex", name: "orders" },
    App { organization: "initech", name: "reports" },
];

impl App {
    pub(crate) fn host(&self) -> String {
        format!("{}-{}.{DOMAIN}", self.name, self.organization)
    }

    pub(crate) fn function_id(&self) -> String {
        format!("{}/{}", self.organization, self.name)
    }
}
