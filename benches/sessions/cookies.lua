-- Each request, for the path ASK, carries the cookie of a random session: COOKIES names a file of lines of one length, of which
-- the first FEW are taken if that is said. BESIDE names another such file: a random line of it is read as well and sent nowhere.
local function lines(name)
   local file = assert(io.open(name))
   local text = file:read("*a")
   file:close()
   return text
end

local text = lines(os.getenv("COOKIES"))
local width = text:find("\n", 1, true)
local count = tonumber(os.getenv("FEW")) or #text / width
local beside = os.getenv("BESIDE") and lines(os.getenv("BESIDE"))
local get = "GET " .. (os.getenv("ASK") or "/") .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: "
math.randomseed(os.time())
for _ = 1, 10 do math.random() end

request = function()
   if beside then
      local there = math.floor(math.random() * #beside / width) * width
      beside:sub(there + 1, there + width - 1)
   end
   local at = math.floor(math.random() * count) * width
   return get .. text:sub(at + 1, at + width - 1) .. "\r\n\r\n"
end

done = function(summary, _, _)
   local e = summary.errors
   io.write(string.format("TOTALS %d %d %d %d %d %d %d %d\n", summary.requests, summary.bytes, summary.duration,
      e.connect, e.read, e.write, e.status, e.timeout))
end
