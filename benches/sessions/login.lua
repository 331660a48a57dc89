-- Logins of many users through the form, one after the other on each connection; counts the answers that are no 303.
local names = tonumber(os.getenv("USERS"))
local password = os.getenv("PASSWORD")
local head = "POST /_auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: same-origin\r\n" ..
   "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: "
refused = 0
local threads = {}
setup = function(thread) table.insert(threads, thread) end

request = function()
   local body = "username=user" .. math.random(0, names - 1) .. "&password=" .. password .. "&return_to=%2F"
   return head .. #body .. "\r\n\r\n" .. body
end

response = function(status)
   if status ~= 303 then refused = refused + 1 end
   if status ~= 303 and refused < 3 then io.stderr:write("login answered ", status, "\n") end
end

done = function(summary, _, _)
   local e, not_in = summary.errors, 0
   for _, thread in ipairs(threads) do not_in = not_in + thread:get("refused") end
   io.write(string.format("TOTALS %d %d %d %d %d %d %d %d\n", summary.requests, summary.bytes, summary.duration,
      e.connect, e.read, e.write, not_in, e.timeout))
end
