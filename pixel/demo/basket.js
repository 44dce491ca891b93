// The basket of the demo: it says what was put into it, and forgets it.
for (const button of document.querySelectorAll("main button")) {
  button.addEventListener("click", () => {
    button.textContent = button.textContent.replace(/^Add (.*) to the basket$/, "$1 is in the basket");
  });
}
