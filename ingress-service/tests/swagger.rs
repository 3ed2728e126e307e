//! Swagger UI in a real browser: a visitor makes a call without reading anything, and no other host hears
//! of it.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // What is printed is for whoever reads the test's output.

#[path = "end_to_end/client.rs"]
#[allow(dead_code)] // This test uses a part of it.
mod client;
#[path = "end_to_end/harness.rs"]
#[allow(dead_code)] // This test uses a part of it.
mod harness;

use std::path::Path;
use std::time::Duration;

use testbed::{Process, free_port};
use thirtyfour::prelude::*;
use tokio::process::Command;

use harness::{PATIENCE, embedded};

/// The part of the page that shows the main call.
const CALL: &str = "[id='operations-weather-city']";

/// The first of some programs that is installed.
async fn installed(names: &[&'static str]) -> Option<&'static str> {
    for name in names {
        if Command::new(name).arg("--version").output().await.is_ok() {
            return Some(name);
        }
    }
    None
}

/// Starts chromedriver and waits until it takes sessions.
async fn drive(program: &str, directory: &Path) -> (Process, String) {
    let port = free_port();
    let mut command = Command::new(program);
    command.arg(format!("--port={port}"));
    let url = format!("http://127.0.0.1:{port}");
    let mut driver = Process::start("chromedriver", command, directory).unwrap();
    let is_ready = || async {
        let status = client::send(client::new().get(format!("{url}/status"))).await.ok()?;
        (status.body["value"]["ready"] == true).then_some(())
    };
    driver.answers(PATIENCE, is_ready).await.unwrap();
    (driver, url)
}

async fn browse(driver: &str, profile: &Path) -> WebDriver {
    let mut capabilities = DesiredCapabilities::chrome();
    let profile = format!("--user-data-dir={}", profile.display());
    for argument in [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        &profile,
    ] {
        capabilities.add_arg(argument).unwrap();
    }
    WebDriver::new(driver, capabilities).await.unwrap()
}

/// An element of the page, as soon as it is there.
async fn element(page: &WebDriver, selector: &str) -> WebElement {
    let query = page.query(By::Css(selector)).wait(PATIENCE, Duration::from_millis(50));
    query.first().await.unwrap()
}

async fn click(page: &WebDriver, selector: &str) {
    element(page, selector).await.click().await.unwrap();
}

async fn make_the_call(page: &WebDriver, url: &str) {
    page.goto(&format!("{url}/swagger")).await.unwrap();
    click(page, &format!("{CALL} .opblock-summary-control")).await;
    click(page, &format!("{CALL} button.execute")).await;
    let answer = format!("{CALL} .live-responses-table .response");
    let status = element(page, &format!("{answer} .response-col_status")).await;
    let status = status.text().await.unwrap();
    assert!(status.starts_with("200"), "{status}");
    let body = element(page, &format!("{answer} .response-col_description")).await;
    let body = body.text().await.unwrap();
    for part in ["\"city\": \"New York\"", "\"location\": \"Downtown\"", "\"requestId\""] {
        assert!(body.contains(part), "{part} is missing in:\n{body}");
    }

    // Reports of the past are kept for observers that ask for them.
    let script = "const done = arguments[0]; const seen = []; \
        const observer = new ReportingObserver(reports => seen.push(...reports.map(report => JSON.stringify(report.body))), \
        { types: ['csp-violation'], buffered: true }); observer.observe(); setTimeout(() => done(seen), 200)";
    let refused = page.execute_async(script, Vec::new()).await.unwrap();
    let refused: Vec<String> = refused.convert().unwrap();
    assert!(refused.is_empty(), "the policy keeps the page from: {refused:?}");

    let script = "return performance.getEntriesByType('resource').map(entry => entry.name)";
    let fetched = page.execute(script, Vec::new()).await.unwrap();
    let fetched: Vec<String> = fetched.convert().unwrap();
    let main_call = format!("{url}/WeatherForecast/city");
    assert!(fetched.contains(&main_call), "{fetched:?}");
    let elsewhere: Vec<_> = fetched.iter().filter(|resource| !is_local(resource, url)).collect();
    assert!(elsewhere.is_empty(), "fetched from elsewhere: {elsewhere:?}");
}

/// Whether a resource is the server's own, or part of the page itself.
fn is_local(resource: &str, url: &str) -> bool {
    resource.starts_with(&format!("{url}/")) || resource.starts_with("data:")
}

#[tokio::test]
async fn a_visitor_makes_a_call_in_the_browser_and_no_other_host_is_asked() {
    let browser = installed(&["chromium", "chromium-browser", "google-chrome"]).await;
    let (Some(_), Some(driver)) = (browser, installed(&["chromedriver"]).await) else {
        println!("skipped: chromium and chromedriver are needed for this test, and are not installed");
        return;
    };
    let ingress = embedded().start().await;
    let directory = tempfile::tempdir().unwrap();
    let (_driver, driver) = drive(driver, directory.path()).await;
    let page = browse(&driver, &directory.path().join("profile")).await;
    // The browser is closed also when the test failed: chromedriver leaves it behind otherwise.
    let visit = tokio::spawn({
        let (page, url) = (page.clone(), ingress.url.clone());
        async move { make_the_call(&page, &url).await }
    });
    let visited = visit.await;
    page.quit().await.unwrap();
    visited.unwrap();
}
