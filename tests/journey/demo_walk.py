"""A visitor's walk over the demo site, and the events that it has to make."""

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def visitor_of(page):
    return page.evaluate("localStorage.getItem('evothesis.visitor')")


def walk(page, url):
    """Do what a visitor does, and say which events that has to make."""
    page.goto(f"{url}/?utm_source=newsletter&utm_medium=email&utm_campaign=autumn")
    page.click("#to-shop")
    page.wait_for_url("**/shop.html")
    page.click("#add-quay")
    page.click("nav >> text=Brewing guide")
    page.wait_for_url("**/guide.html")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "brewing-guide.pdf"
    while page.evaluate("scrollY + innerHeight < document.documentElement.scrollHeight - 1"):
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(50)
    page.click("nav >> text=Contact")
    page.wait_for_url("**/contact.html")
    page.fill("[name=email]", "somebody@mail.example")
    page.click("#send")
    page.wait_for_url("**/thanks.html")
    return [
        (
            "page_view",
            "/",
            {"channel": "email", "utm": {"source": "newsletter", "medium": "email", "campaign": "autumn"}},
        ),
        ("click", "/", {"tag": "a", "id": "to-shop", "text": "See the roasts", "href": f"{url}/shop.html"}),
        ("page_leave", "/", {}),
        ("page_view", "/shop.html", {"channel": "internal"}),
        ("click", "/shop.html", {"tag": "button", "id": "add-quay", "text": "Add Quay to the basket"}),
        ("click", "/shop.html", {"tag": "a", "text": "Brewing guide", "href": f"{url}/guide.html"}),
        ("page_leave", "/shop.html", {}),
        ("page_view", "/guide.html", {}),
        (
            "file_download",
            "/guide.html",
            {
                "tag": "a",
                "id": "download",
                "text": "Download it as a PDF",
                "href": f"{url}/files/brewing-guide.pdf",
                "extension": "pdf",
            },
        ),
        *[("scroll_depth", "/guide.html", {"percent": percent}) for percent in (25, 50, 75, 100)],
        ("click", "/guide.html", {"tag": "a", "text": "Contact", "href": f"{url}/contact.html"}),
        ("page_leave", "/guide.html", {"scroll_percent": 100}),
        ("page_view", "/contact.html", {}),
        ("click", "/contact.html", {"tag": "button", "id": "send", "text": "Send"}),
        (
            "form_submit",
            "/contact.html",
            {
                "id": "contact",
                "fields": [
                    {"field": "name", "type": "text"},
                    {"field": "email", "type": "email"},
                    {"field": "question", "type": "textarea"},
                ],
            },
        ),
        ("page_leave", "/contact.html", {}),
        ("page_view", "/thanks.html", {}),
        # The test closes it.
        ("page_leave", "/thanks.html", {}),
    ]


def agrees(event, caused):
    """Whether an event is the one that was caused: its kind, its page, and of its data what is named."""
    event_type, path, data = caused
    said = event["raw_event_data"]["data"]
    return (event["event_type"], event["path"]) == (event_type, path) and {**said, **data} == said
