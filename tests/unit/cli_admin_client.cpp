#include "cli/admin_client.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace crosslink::cli {
namespace {

using boost::asio::ip::tcp;
using std::chrono::milliseconds;

/// Takes one connection, reads a request's head and its body, if it says one is there, and answers with fixed bytes.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer)
      : acceptor_(context_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)),
        port_(acceptor_.local_endpoint().port()),
        thread_([this, answer = std::move(answer)] { serve(answer); }) {}
  ~OneAnswer() { end(); }

  AdminTarget target() const {
    return {{"127.0.0.1", port_}, "127.0.0.1:" + std::to_string(port_), std::string(64, 'a'), {}};
  }
  /// Once the answer was given.
  const std::string& request() {
    end();
    return request_;
  }

 private:
  void end() {
    if (thread_.joinable()) thread_.join();
  }
  void serve(const std::string& answer) {
    boost::system::error_code error;
    tcp::socket socket(context_);
    acceptor_.accept(socket, error);
    if (error) return;
    const auto head = boost::asio::read_until(socket, boost::asio::dynamic_buffer(request_), "\r\n\r\n", error);
    const auto length = request_.find("Content-Length: ");
    if (length < head) {
      const auto body = std::stoul(request_.substr(length + 16));
      if (request_.size() < head + body)
        boost::asio::read(socket, boost::asio::dynamic_buffer(request_),
                          boost::asio::transfer_exactly(head + body - request_.size()), error);
    }
    if (answer == "silence") {
      std::string more;
      boost::asio::read(socket, boost::asio::dynamic_buffer(more), error);  // until the client gives up
      return;
    }
    boost::asio::write(socket, boost::asio::buffer(answer), error);
  }

  boost::asio::io_context context_;
  tcp::acceptor acceptor_;
  std::uint16_t port_;
  std::string request_;
  std::thread thread_;
};

std::string http(std::string_view status, const std::string& body) {
  return "HTTP/1.1 " + std::string(status) +
         "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

TEST(AdminClient, sends_the_token_the_host_and_json) {
  OneAnswer node(http("200 OK", R"({"name":"orders"})"));
  const auto target = node.target();
  const auto answer =
      ask(target, {AdminMethod::post, "/v1/mirrors/orders/limit", {{"bytes_per_s", 5}}, milliseconds(9000)});
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_FALSE(answer->exit_code);
  EXPECT_EQ(answer->body.at("name").as_string(), "orders");
  const auto& request = node.request();
  EXPECT_EQ(request.find("POST /v1/mirrors/orders/limit HTTP/1.1\r\n"), 0u) << request;
  EXPECT_NE(request.find("Authorization: Bearer " + std::string(64, 'a') + "\r\n"), std::string::npos);
  EXPECT_NE(request.find("Host: " + target.host + "\r\n"), std::string::npos);
  EXPECT_NE(request.find("Content-Type: application/json\r\n"), std::string::npos);
  EXPECT_TRUE(request.ends_with("{\"bytes_per_s\":5}")) << request;
}

TEST(AdminClient, the_node_says_how_the_command_ends) {
  OneAnswer node(http("409 Conflict", R"({"error":"MirrorPromoted","message":"no","exit_code":6})"));
  const auto answer = ask(node.target(), {AdminMethod::remove, "/v1/mirrors/orders", {}, milliseconds(9000)});
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->exit_code, 6);
  EXPECT_EQ(node.request().find("DELETE /v1/mirrors/orders HTTP/1.1\r\n"), 0u);
}

TEST(AdminClient, an_error_never_ends_with_zero) {
  OneAnswer node(http("500 Oh", R"({"error":"Storage","message":"no","exit_code":0})"));
  const auto answer = ask(node.target(), {AdminMethod::get, "/v1/node", {}, milliseconds(9000)});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->exit_code, 1);
}

TEST(AdminClient, nobody_there_is_said_with_the_address) {
  AdminTarget target;
  {
    boost::asio::io_context context;
    tcp::acceptor taken(context, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
    target = {{"127.0.0.1", taken.local_endpoint().port()}, "", std::string(64, 'a'), {}};
    target.host = "127.0.0.1:" + std::to_string(target.connect.port);
  }
  const auto answer = ask(target, {AdminMethod::get, "/v1/node", {}, milliseconds(9000)});
  ASSERT_FALSE(answer);
  EXPECT_EQ(exit_code(answer.error()), 4);
  EXPECT_NE(answer.error().message().find(target.host), std::string::npos);
  EXPECT_NE(answer.error().message().find("may not run"), std::string::npos);
}

TEST(AdminClient, what_is_no_node_is_named_so) {
  for (const auto& bytes :
       {std::string("SSH-2.0-OpenSSH\r\n\r\n"), http("200 OK", "[]"), http("200 OK", "<html>"),
        http("200 OK", "{\"a\":"), std::string("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")}) {
    OneAnswer other(bytes);
    const auto answer = ask(other.target(), {AdminMethod::get, "/v1/node", {}, milliseconds(9000)});
    ASSERT_FALSE(answer) << bytes;
    EXPECT_EQ(answer.error().kind(), ErrorKind::ProtocolViolation) << answer.error().message();
  }
}

TEST(AdminClient, an_answer_cut_short_is_a_lost_connection) {
  OneAnswer node("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"a\":");
  const auto answer = ask(node.target(), {AdminMethod::get, "/v1/node", {}, milliseconds(9000)});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind(), ErrorKind::Transport) << answer.error().message();
}

TEST(AdminClient, a_node_that_says_nothing_is_given_up_in_time) {
  OneAnswer node("silence");
  const auto answer = ask(node.target(), {AdminMethod::get, "/v1/node", {}, milliseconds(100)});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind(), ErrorKind::Timeout);
}

class AdminAddress : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "crosslink-admin-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    ::unsetenv("CROSSLINK_ADMIN");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& content) {
    const auto path = folder_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << content;
    return path.string();
  }
  std::string config(const std::string& admin) {
    return write("node.toml",
                 "cluster_id = \"prod-us\"\ndata_dir = \"data\"\n[listen]\nmirrors = \"127.0.0.1:0\"\n"
                 "clients = \"127.0.0.1:0\"\nadmin = \"" +
                     admin + "\"\n[tls]\nca = \"ca.pem\"\ncert = \"a.pem\"\nkey = \"a.key\"\n");
  }
  std::filesystem::path folder_;
};

TEST_F(AdminAddress, a_config_is_enough) {
  write("data/admin.token", std::string(64, 'b') + "\n");
  AdminOptions options;
  options.config = config("127.0.0.1:7401");
  const auto target = find_admin(options);
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->host, "127.0.0.1:7401");
  EXPECT_EQ(target->token, std::string(64, 'b'));
  EXPECT_FALSE(target->tls);
}

TEST_F(AdminAddress, beyond_loopback_there_is_tls_with_the_cluster_id) {
  write("data/admin.token", std::string(64, 'b'));
  AdminOptions options;
  options.config = config("10.0.0.1:7401");
  const auto target = find_admin(options);
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->host, "10.0.0.1:7401");
  ASSERT_TRUE(target->tls);
  EXPECT_EQ(target->tls->name, "prod-us");
  EXPECT_EQ(target->tls->ca, (folder_ / "ca.pem").string());
}

TEST_F(AdminAddress, what_is_of_tls_is_refused_where_none_is_spoken) {
  write("data/admin.token", std::string(64, 'b'));
  AdminOptions by_config, by_address;
  by_config.config = config("127.0.0.1:7401");
  by_address.admin = "127.0.0.1:7401";
  by_address.token_file = (folder_ / "data/admin.token").string();
  by_config.ca = "ca.pem";
  by_address.cluster_id = "prod-us";
  for (const auto& options : {by_config, by_address}) {
    const auto target = find_admin(options);
    ASSERT_FALSE(target);
    EXPECT_EQ(exit_code(target.error()), 2);
    EXPECT_NE(target.error().message().find("--ca and --cluster-id"), std::string::npos);
  }
}

TEST_F(AdminAddress, a_missing_token_says_what_to_do_and_exits_with_1) {
  AdminOptions options;
  options.config = config("127.0.0.1:7401");
  const auto target = find_admin(options);
  ASSERT_FALSE(target);
  EXPECT_EQ(exit_code(target.error()), 1);
  EXPECT_NE(target.error().message().find("admin.token"), std::string::npos);
  EXPECT_NE(target.error().message().find("crosslink serve"), std::string::npos);
}

TEST_F(AdminAddress, a_token_is_64_hex_digits_and_nothing_else) {
  AdminOptions options;
  options.admin = "127.0.0.1:7401";
  for (const auto& text : {std::string(63, 'a'), std::string(65, 'a'), std::string(63, 'a') + "g", std::string(),
                           std::string(32, 'a') + "\r\n" + std::string(30, 'a')}) {
    options.token_file = write("token", text);
    const auto target = find_admin(options);
    ASSERT_FALSE(target);
    EXPECT_EQ(target.error().kind(), ErrorKind::Storage);
  }
}

TEST_F(AdminAddress, the_environment_names_a_node_only_when_nothing_else_does) {
  ::setenv("CROSSLINK_ADMIN", "localhost:7501", 1);
  AdminOptions options;
  options.token_file = write("token", std::string(64, 'a'));
  auto target = find_admin(options);
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->host, "localhost:7501");
  options.admin = "127.0.0.1:7401";
  target = find_admin(options);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->host, "127.0.0.1:7401");
  ::unsetenv("CROSSLINK_ADMIN");
}

TEST_F(AdminAddress, a_remote_host_without_a_ca_is_not_asked) {
  AdminOptions options;
  options.admin = "10.0.0.1:7401";
  options.token_file = write("token", std::string(64, 'a'));
  const auto target = find_admin(options);
  ASSERT_FALSE(target);
  EXPECT_EQ(exit_code(target.error()), 2);
  EXPECT_NE(target.error().message().find("--ca"), std::string::npos);
}

}  // namespace
}  // namespace crosslink::cli
