// Browsers start no worker for a page that is opened from a file. There the search runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inner = frame.contentWindow
      frame.contentDocument.open()
      this.inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      const script = frame.contentDocument.createElement("script")
      script.src = new URL(url, location)
      this.ready = new Promise(done => script.addEventListener("load", done))
      frame.contentDocument.append(frame.contentDocument.createElement("html"))
      frame.contentDocument.documentElement.append(script)
      frame.contentDocument.close()
    }
    postMessage(data) {
      this.ready.then(() => this.inner.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
