"""Who is no visitor is flagged with the reasons, and stored like everybody else."""

import pytest

from collect import bots
from storage import settings

SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("user_agent", "reasons"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", ["crawler"]),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", ["crawler"]),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", ["crawler"]),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", ["crawler"]),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", ["ai"]),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ChatGPT-User/1.0)", ["ai"]),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0)", ["ai"]),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0)", ["ai"]),
        (CHROME.replace("Chrome/", "HeadlessChrome/"), ["automation"]),
        ("curl/8.5.0", ["program"]),
        ("python-requests/2.32.0", ["program"]),
        ("Go-http-client/2.0", ["program"]),
        (CHROME, []),
        (SAFARI, []),
        (CHROME + " Edg/142.0.0.0", []),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", []),
        ("Mozilla/5.0 (Linux; Android 15; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36", []),
        ("Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36", []),
        (SAFARI + " [FBAN/FBIOS;FBAV/400.0]", []),
        (None, []),
    ],
)  # fmt: skip
def test_the_user_agent_tells(environ, user_agent, reasons):
    assert bots.reasons(settings.current(), user_agent, None, {}) == reasons


def test_every_pattern_of_the_list_is_looked_for():
    _, names = bots._patterns()
    assert len(names) > 1000


def test_a_driven_browser_that_says_so_is_flagged(environ):
    assert bots.reasons(settings.current(), CHROME, None, {"data": {"webdriver": True}}) == ["automation"]
    assert bots.reasons(settings.current(), CHROME, None, {"data": {"webdriver": "true"}}) == []


@pytest.mark.parametrize(
    ("address", "reasons"),
    [("192.0.2.77", ["network"]), ("::ffff:192.0.2.77", ["network"]), ("2001:db8:1::5", ["network"]),
     ("192.0.3.1", []), ("2001:db9::1", []), ("no address", []), (None, [])],
)  # fmt: skip
def test_networks_of_the_operator_are_flagged(environ, address, reasons):
    environ["BOT_NETWORKS"] = "192.0.2.0/24, 2001:db8::/32"
    assert bots.reasons(settings.current(), CHROME, address, {}) == reasons


def test_a_flagged_event_is_stored_and_the_flag_is_ours_to_set(post, rows):
    body = {"event_type": "page_view", "url": "https://shop.example.com/", "_bot": ["nonsense"]}
    assert post(body, headers={"user-agent": "curl/8.5.0"}).status == 202
    assert post(body, headers={"user-agent": CHROME}).status == 202
    assert [row["bot"] for row in rows("SELECT raw_event_data -> '_bot' AS bot FROM events ORDER BY id")] == [
        ["program"],
        None,
    ]
