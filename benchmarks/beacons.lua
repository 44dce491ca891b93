-- Beacons for wrk: POST /collect with N events each, every event with an id of its own.
--   wrk … -s beacons.lua URL -- EVENTS [PAUSE]    PAUSE: ms that each connection waits, on average, between two beacons
local HEADERS = {
  ["content-type"] = "text/plain;charset=UTF-8",
  ["origin"] = "https://shop.example.com",
  ["referer"] = "https://shop.example.com/products",
  ["accept"] = "*/*",
  ["accept-language"] = "en-GB,en;q=0.9",
  ["user-agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
}
local EVENT = '{"event_id":"%s%08x","event_type":"page_view","timestamp":"%s","url":"https://shop.example.com/products/%d?utm_source=newsletter&utm_medium=email","referrer":"https://search.example/?q=shoes","title":"Product %d - Shop","page_view_id":"0193a5b1-7c2e-7d3f-8a4b-%012x","seq":%d,"data":{"viewport":{"w":1440,"h":900},"screen":{"w":1920,"h":1080},"language":"en-GB","timezone":"Europe/Berlin"}}'
local BEACON = '{"visitor_id":"%08xv%08x","session_id":"%08xs%08x","site_id":null,"sent_at":"%s","consent":{"analytics":true,"source":"tcf"},"events":[%s]}'

local per, pause, prefix, stamp, number = 1, nil, nil, nil, 0

function init(args)
  per = tonumber(args[1] or "1")
  pause = tonumber(args[2] or "")
  math.randomseed(os.time() + math.floor(os.clock() * 1e6) % 65536 * 65536)
  -- A UUIDv7 begins with the time of its making, so inserts are local in the index; the end is a number of its own.
  prefix = string.format("%08x-%04x-7%03x-8%03x-%04x", os.time(), math.random(0, 65535), math.random(0, 4095), math.random(0, 4095), math.random(0, 65535))
  stamp = os.date("!%Y-%m-%dT%H:%M:%S.123Z")
  if pause then
    -- Anything up to twice the mean, so that connections do not march in step.
    delay = function() return math.random(0, 2 * pause) end
  end
end

function request()
  local events = {}
  for i = 1, per do
    number = number + 1
    events[i] = string.format(EVENT, prefix, number, stamp, number % 9000, number % 9000, number, number % 50)
  end
  local visitor = number * 7919 % 50000
  local body = string.format(BEACON, visitor, visitor, visitor, visitor, stamp, table.concat(events, ","))
  return wrk.format("POST", "/collect", HEADERS, body)
end
