// Shows what lies in the page: volumes to be turned, cut and seen phase by phase (rays through a 3D texture, as in
// cutaway.py), or 2D images to be paged through. All panes share one view, so that two volumes can be compared.
"use strict";
(() => {
  const root = document.querySelector(".dsd-view");
  const { phases, panes, unit, solid, eye, lamp, shading, shader } = JSON.parse(root.querySelector("script").textContent);
  const state = { ...eye, zoom: 1, pan: [0, 0], cut: [0.5, 0.5, 0.5], mode: 0, shown: phases.map((p) => !p.hidden), still: true };
  const MODES = ["a corner", "all beyond", "all but the planes", "nothing"];
  const views = [], sliders = [];

  const VERTEX = `#version 300 es
    void main() { gl_Position = vec4(4 * (gl_VertexID & 1) - 1, 2 * (gl_VertexID & 2) - 1, 0, 1); }`;

  const make = (html) => Object.assign(document.createElement("template"), { innerHTML: html }).content.firstElementChild;

  function frame() {  // right, up, towards the eye, as (x, y, z)
    const a = state.azimuth * Math.PI / 180, e = state.elevation * Math.PI / 180;
    return [[Math.sin(a), -Math.cos(a), 0],
      [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), -Math.cos(e)],
      [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), -Math.sin(e)]];
  }

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  class View {
    constructor(pane) {
      this.items = pane.items;
      this.element = make(`<div class="pane"><div class="pick"><b></b><button>&lsaquo;</button><select></select>
        <button>&rsaquo;</button></div><div class="sides"><div class="stage" tabindex="0"><canvas></canvas>
        <svg class="axes"></svg><div class="scale"></div></div><div class="cuts"></div></div><p class="about"></p>
        <p class="about trouble"></p></div>`);
      this.find("b").textContent = pane.title;
      this.stage = this.find(".stage");
      this.canvas = this.find("canvas");
      this.select = this.find("select");
      this.items.forEach((item, i) => this.select.add(new Option(item.name, i)));
      this.select.onchange = () => this.open();
      const [back, forth] = this.element.querySelectorAll("button");
      back.onclick = () => this.turnPage(-1);
      forth.onclick = () => this.turnPage(1);
      back.hidden = forth.hidden = this.select.hidden = this.items.length < 2;
      this.find(".pick").hidden = this.items.length < 2 && !pane.title;
      if (solid) this.prepare();
      else this.canvas.className = "flat";
      this.listen();
    }

    find(what) { return this.element.querySelector(what); }

    complain(text) { this.find(".trouble").textContent = text; }

    turnPage(by) {
      this.select.selectedIndex = (this.select.selectedIndex + by + this.items.length) % this.items.length;
      this.open();
    }

    async open() {
      const item = this.items[this.select.selectedIndex];
      this.find(".about").textContent = item.about;
      const voxels = await unpack(item.data);
      if (item !== this.items[this.select.selectedIndex]) return;  // another one was chosen meanwhile
      Object.assign(this, { item, voxels });
      if (this.gl) this.upload();
      draw();
    }

    prepare() {
      this.find(".cuts").append(...[0, 1, 2].map((axis) => {
        const figure = make("<figure><canvas></canvas><figcaption></figcaption></figure>");
        const [down, right] = [0, 1, 2].filter((other) => other !== axis);
        figure.onpointerdown = figure.onpointermove = (event) => {
          const box = figure.firstChild.getBoundingClientRect();
          if (!event.buttons || event.target !== figure.firstChild) return;
          state.cut[down] = (event.clientY - box.top) / box.height;
          state.cut[right] = (event.clientX - box.left) / box.width;
          draw();
        };
        return figure;
      }));
      const gl = this.gl = this.canvas.getContext("webgl2", { antialias: false });
      if (!gl) return this.complain("This browser has no WebGL2, so only the cuts are shown.");
      const program = gl.createProgram();
      for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, shader]]) {
        const part = gl.createShader(kind);
        gl.shaderSource(part, text);
        gl.compileShader(part);
        gl.attachShader(program, part);
      }
      gl.linkProgram(program);
      if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
        this.gl = null;
        return this.complain("The graphics card cannot draw volumes, so only the cuts are shown.");
      }
      gl.useProgram(program);
      this.uniform = new Proxy({}, { get: (_, name) => gl.getUniformLocation(program, name) });
      gl.uniform1i(this.uniform.table, 1);
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
      for (const [unit, target] of [[0, gl.TEXTURE_3D], [1, gl.TEXTURE_2D]]) {
        gl.activeTexture(gl.TEXTURE0 + unit);
        gl.bindTexture(target, gl.createTexture());
        for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(target, filter, gl.NEAREST);
      }
    }

    upload() {
      const gl = this.gl, [depth, height, width] = this.item.shape, most = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE);
      if (Math.max(depth, height, width) > most)
        return this.complain(`The graphics card takes volumes of up to ${most} voxels a side, so only the cuts are shown.`);
      this.complain("");
      gl.activeTexture(gl.TEXTURE0);
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8UI, width, height, depth, 0, gl.RED_INTEGER, gl.UNSIGNED_BYTE, this.voxels);
    }

    plane(axis) { return Math.min(this.item.shape[axis], Math.floor(state.cut[axis] * this.item.shape[axis])); }

    draw() {
      if (!this.item) return;
      const wide = this.stage.clientWidth, shape = this.item.shape;
      // Voxels a CSS pixel: a volume fits whichever way it is turned.
      const scale = (solid ? Math.hypot(...shape) : Math.max(...shape)) / (wide * state.zoom);
      if (!solid) {
        this.paint(this.canvas, ...shape, 0, shape[1], 1);
        this.canvas.style.transform = `translate(${state.pan[0]}px, ${state.pan[1]}px) scale(${state.zoom})`;
      } else {
        if (this.gl) this.cast(wide, scale);
        this.cuts();
        this.axes();
      }
      this.bar(scale);
    }

    cast(wide, scale) {
      const gl = this.gl, u = this.uniform, dense = state.still ? window.devicePixelRatio : 1;
      const side = Math.round(wide * dense), axes = frame();
      if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
      gl.viewport(0, 0, side, side);
      gl.activeTexture(gl.TEXTURE1);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, phases.length, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE,
        new Uint8Array(phases.flatMap((phase, i) => [...phase.colour, 255 * state.shown[i]])));
      gl.uniformMatrix3fv(u.frame, false, axes.flat());
      gl.uniform2f(u.origin, side / 2 + state.pan[0] * dense, side / 2 - state.pan[1] * dense);
      gl.uniform1f(u.scale, scale / dense);
      gl.uniform3i(u.cut, this.plane(2), this.plane(1), this.plane(0));
      gl.uniform1i(u.mode, state.mode);
      gl.uniform1i(u.finer, state.still ? 2 : 1);
      gl.uniform3f(u.lamp, ...[0, 1, 2].map((k) => lamp.reduce((sum, part, i) => sum + part * axes[i][k], 0)));
      gl.uniform3f(u.shading, shading[0], shading[1], shading[2] * Math.max(...this.item.shape));
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    }

    paint(canvas, height, width, first, down, right) {  // phases in their colours, those not shown white
      const picture = new ImageData(width, height), dots = new Uint32Array(picture.data.buffer);
      const little = phases.map(({ colour: [r, g, b] }, i) => (solid || state.shown[i] ? (b << 16) | (g << 8) | r : 0xffffff));
      for (let y = 0, i = 0; y < height; y++)
        for (let x = 0; x < width; x++) dots[i++] = little[this.voxels[first + y * down + x * right]] | 0xff000000;
      if (canvas.width !== width) canvas.width = width;
      if (canvas.height !== height) canvas.height = height;
      canvas.getContext("2d").putImageData(picture, 0, 0);
    }

    cuts() {
      const shape = this.item.shape, strides = [shape[1] * shape[2], shape[2], 1];
      this.element.querySelectorAll("figure").forEach((figure, axis) => {
        const at = Math.min(this.plane(axis), shape[axis] - 1), [down, right] = [0, 1, 2].filter((k) => k !== axis);
        this.paint(figure.firstChild, shape[down], shape[right], at * strides[axis], strides[down], strides[right]);
        figure.lastChild.textContent = `${"zyx"[axis]} = ${at}: ${"zyx"[down]} down, ${"zyx"[right]} right`;
      });
    }

    axes() {
      const [right, up] = frame();
      this.find(".axes").innerHTML = ["x", "y", "z"].map((name, k) => {
        const x = 35 + 22 * right[k], y = 35 - 22 * up[k];
        return `<line x1="35" y1="35" x2="${x}" y2="${y}" stroke="#222" stroke-width="1.5"/><text x="${x + 8 * right[k]}"
          y="${y - 8 * up[k] + 4}" font-size="12" text-anchor="middle" fill="#222">${name}</text>`;
      }).join("");
    }

    bar(scale) {  // the longest of 1, 2, 5, 10, ... that is at most 130 pixels
      const size = this.item.voxel * scale, most = 130 * size, ten = 10 ** Math.floor(Math.log10(most));
      const length = ten * [5, 2, 1].find((factor) => factor * ten <= most);
      const bar = this.find(".scale");
      bar.style.width = `${length / size}px`;
      bar.textContent = `${+length.toPrecision(3)} ${unit}`;
    }

    listen() {
      const move = (dx, dy, slide) => {
        if (slide) state.pan = [state.pan[0] + dx, state.pan[1] + dy];
        else {
          state.azimuth += 0.5 * dx;
          state.elevation = Math.max(-90, Math.min(90, state.elevation + 0.5 * dy));
        }
        draw();
      };
      const zoom = (factor) => {
        state.zoom = Math.max(0.3, Math.min(40, state.zoom * factor));
        draw();
      };
      const keys = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] };
      Object.assign(this.stage, {
        onpointerdown: (event) => this.stage.setPointerCapture(event.pointerId),
        onpointermove: (event) => {
          if (event.buttons) move(event.movementX, event.movementY, !solid || event.shiftKey || event.buttons !== 1);
        },
        oncontextmenu: () => false,
        ondblclick: () => {
          Object.assign(state, eye, { zoom: 1, pan: [0, 0] });
          draw();
        },
        onkeydown: (event) => {
          if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.25 : 0.8);
          else if (!(event.key in keys)) return;
          else if (solid) move(...keys[event.key], event.shiftKey);
          else this.turnPage(Math.sign(keys[event.key][0] + keys[event.key][1]));
          event.preventDefault();
        },
      });
      this.stage.addEventListener("wheel", (event) => {
        event.preventDefault();
        zoom(Math.exp(-event.deltaY / 500));
      }, { passive: false });
    }
  }

  let timer = 0, waiting = false;
  function draw() {  // coarse while something moves, fine a moment later
    state.still = false;
    clearTimeout(timer);
    timer = setTimeout(() => show(true), 150);
    if (!waiting) requestAnimationFrame(() => {
      waiting = false;
      if (!state.still) show(false);
    });
    waiting = true;
  }

  function show(still) {
    state.still = still;
    views.forEach((view) => view.draw());
    sliders.forEach((label, axis) => {
      label.querySelector("input").value = state.cut[axis];
      label.querySelector("output").textContent = views[0].item ? views[0].plane(axis) : "";
    });
  }

  function controls() {
    const bar = root.appendChild(make('<div class="bar"></div>'));
    phases.forEach((phase, i) => {
      const label = bar.appendChild(make(`<label><input type="checkbox"><i class="box"></i><span></span></label>`));
      label.querySelector("i").style.background = `rgb(${phase.colour})`;
      label.querySelector("span").textContent = phase.name;
      Object.assign(label.firstChild, { checked: state.shown[i], onchange: (event) => {
        state.shown[i] = event.target.checked;
        draw();
      } });
    });
    if (!solid) return;
    const mode = bar.appendChild(make("<label>cut away <select></select></label>")).lastChild;
    MODES.forEach((name) => mode.add(new Option(name)));
    mode.onchange = () => {
      state.mode = mode.selectedIndex;
      draw();
    };
    const group = bar.appendChild(make('<div class="sliders"></div>'));
    ["z", "y", "x"].forEach((name, axis) => {
      const slider = `<label>${name} <input type="range" min="0" max="1" step="any"> <output></output></label>`;
      sliders.push(group.appendChild(make(slider)));
      sliders[axis].querySelector("input").oninput = (event) => {
        state.cut[axis] = +event.target.value;
        draw();
      };
    });
  }

  controls();
  root.append(make(`<p class="hint">${solid ? "Drag to turn, shift and drag to move" : "Drag to move, arrow keys to page"}, wheel to zoom,
    double click to begin again${solid ? "; click into a cut to move the others there" : ""}.</p>`));
  const row = root.appendChild(make('<div class="panes"></div>'));
  for (const pane of panes) {
    const view = new View(pane);
    views.push(view);
    row.append(view.element);
    view.open().catch((error) => view.complain(`Cannot show this: ${error.message}`));
  }
  window.addEventListener("resize", draw);
})();
