-- Each request, for the path ASK, carries the cookie of a random session: COOKIES names a file of lines of one length.
local file = assert(io.open(os.getenv("COOKIES")))
local text = file:read("*a")
file:close()
local width = text:find("\n", 1, true)
local count = #text / width
local get = "GET " .. (os.getenv("ASK") or "/") .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: "
math.randomseed(os.time())
for _ = 1, 10 do math.random() end

request = function()
   local at = math.floor(math.random() * count) * width
   return get .. text:sub(at + 1, at + width - 1) .. "\r\n\r\n"
end

done = function(summary, _, _)
   local e = summary.errors
   io.write(string.format("TOTALS %d %d %d %d %d %d %d %d\n", summary.requests, summary.bytes, summary.duration,
      e.connect, e.read, e.write, e.status, e.timeout))
end
