// The comparison's application on express-session: `node app.js memory|file PORT SECONDS [FOLDER]`.
// Logins, logouts and slow changes are written as the documentation of express-session writes them.
const express = require('express')
const session = require('express-session')

const [kind, port, seconds, folder] = process.argv.slice(2)
let store
if (kind === 'file') {
  const FileStore = require('session-file-store')(session)
  store = new FileStore({ path: folder, ttl: Number(seconds), logFn: () => {} })
}
const app = express()
const waiting = []
app.get('/waiting', (request, response) => response.send(String(waiting.length)))
app.get('/go', (request, response) => {
  waiting.splice(0).forEach(go => go())
  response.send('go')
})
app.use(session({
  store,
  secret: 'a secret of this comparison only, 32 bytes or more',
  resave: false,
  saveUninitialized: false,
  cookie: { maxAge: Number(seconds) * 1000 }
}))
app.all('/login', (request, response, next) => {
  request.session.regenerate(error => {
    if (error) return next(error)
    request.session.user = 'alice'
    request.session.save(error => error ? next(error) : response.send('in'))
  })
})
app.all('/logout', (request, response, next) => {
  request.session.destroy(error => error ? next(error) : response.send('out'))
})
app.all('/whoami', (request, response) => {
  if (!request.session.user) return response.status(401).send('nobody')
  response.send(request.session.user)
})
app.all('/set', (request, response) => {
  waiting.push(() => {
    Object.assign(request.session, request.query)
    response.send('set')
  })
})
app.all('/keys', (request, response) => {
  response.send(['a', 'b'].filter(name => name in request.session).join(','))
})
app.listen(Number(port), '127.0.0.1')
