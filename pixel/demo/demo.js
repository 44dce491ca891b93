// The demo has no server of its own: its form thanks without sending anything anywhere.
const form = document.getElementById("contact");
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  location.href = "/thanks.html";
});
